# shellcheck shell=sh disable=SC2154
# What `upswap upgrade` and `upswap install-service` share: the profile, its flags, and the part of the chain that changes
# nothing on the host: fetch and verify. Sourced, never run.

# The keys of a profile, upswap.conf(5). Each has a flag of its name: BIN_DIR is --bin-dir.
KEYS="SOURCE INDEX ASSET SUMS SIG KEY SIGNER POLICY EXTRACT RUN RUN_AS BIN_DIR UNIT PROBES STABLE TIMEOUT KEEP ALLOW"
# A flag is one of this command line, never one of the environment.
for key in $KEYS; do unset "flag_$key"; done
# With it systemctl takes an option behind its verb for a unit.
unset POSIXLY_CORRECT

# say LINE / die CODE LINE: what people read, with the script's name in front.
say() {
    [ -n "$quiet" ] || printf '%s: %s\n' "$script" "$1" >&2
}

die() {
    printf '%s: %s\n' "$script" "$2" >&2
    exit "$1"
}

# A profile is sourced, by root too, so it is read by eye first: nobody else but root may write it, and each line sets one
# known key to a plain value.
read_profile() {
    # A name without a slash would be sourced from PATH.
    case $1 in */*) ;; *) set -- "./$1" ;; esac
    [ -r "$1" ] || die 2 "$1: there is no such profile; write one (upswap.conf(5)) or give --source and the rest as flags"
    if [ -n "$(find -L "$1" -prune \( ! -uid "$(id -u)" ! -uid 0 -o -perm /022 \) -print)" ]; then
        die 2 "$1: others than you may write it; chown and chmod it first"
    fi
    known=$(printf '%s' "$KEYS" | tr ' ' '|')
    plain="\"[^\"\$\`\\\\]*\"|'[^'\$\`\\\\]*'|[^][\"'\$\`\\\\;&|<>()*?~# 	]*"
    bad=$(grep -nvE "^[[:space:]]*(#.*)?\$|^($known)=($plain)[[:space:]]*\$" "$1" | sed 1q) || :
    case ${bad#*:} in
    '') ;;
    *=*)
        key=${bad#*:}
        key=${key%%=*}
        case " $KEYS " in
        *" $key "*) die 2 "$1: line ${bad%%:*}: the value of $key has to stand in quotes, and can't hold \$, \` or \\" ;;
        *) die 2 "$1: line ${bad%%:*}: '$key' is no key of upswap.conf(5)" ;;
        esac
        ;;
    *) die 2 "$1: line ${bad%%:*}: not a KEY=value of upswap.conf(5)" ;;
    esac
    # shellcheck source=/dev/null
    . "$1"
}

# take_flag FLAG VALUE: a flag that stands for a profile key; false when it is none.
take_flag() {
    key=$(printf '%s' "${1#--}" | tr 'a-z-' 'A-Z_')
    case " $KEYS " in
    *" $key "*) eval "flag_$key=\$2" ;;
    *) return 1 ;;
    esac
}

# settle_keys NAME: the profile of NAME when there is one (or the one --profile names), then the flags over it, then the defaults.
settle_keys() {
    for key in $KEYS; do
        eval "$key="
    done
    if [ -n "$profile" ]; then
        read_profile "$profile"
    elif [ -e "/etc/upswap/$1.conf" ]; then
        read_profile "/etc/upswap/$1.conf"
    fi
    for key in $KEYS; do
        eval "[ -z \"\${flag_$key+set}\" ] || $key=\$flag_$key"
    done
    BIN_DIR=${BIN_DIR:-/usr/local/bin}
    UNIT=${UNIT:-$1.service}
    case $UNIT in *.*) ;; *) UNIT=$UNIT.service ;; esac
    case $UNIT in
    -* | *[!A-Za-z0-9:_.@\\-]* | *@.*)
        die 2 "'$UNIT' is not one unit; name it in full, without *, ? or [ and with the instance of a template"
        ;;
    esac
    [ -z "$RUN_AS" ] || [ -n "$RUN" ] || die 2 "$1: RUN_AS without RUN: say what is to be run (--run)"
    [ -z "$SIGNER" ] || [ -n "$KEY" ] || die 2 "$1: SIGNER without KEY: say whose signature counts (--key)"
    case $KEY in
    minisign:* | ssh:* | gpg:* | sigstore:* | [./]*) ;;
    *:*) die 2 "$1: KEY: '${KEY%%:*}:' is no kind of key; minisign:, ssh:, gpg: and sigstore: are" ;;
    esac
    # A link that leads nowhere is a policy too: one that nothing meets.
    if [ -z "$POLICY" ] && { [ -e "/etc/upswap/$1.policy" ] || [ -L "/etc/upswap/$1.policy" ]; }; then
        POLICY=/etc/upswap/$1.policy
    fi
    allowed=''
    for what in $ALLOW; do allowed="$allowed --allow $what"; done
    [ -n "$SOURCE" ] || die 2 "$1: where its releases are is not known: write /etc/upswap/$1.conf, or give --source"
    [ -n "$SUMS$KEY" ] || die 2 "$1: a release without evidence is refused: set SUMS or KEY (--sums, --key)"
}

# check_words CAPABILITIES: the words that the tools get later, tried before anything is changed. A tool that is asked for its
# help reads its command line first, and refuses what it does not take.
check_words() {
    wait_for "$UNIT" --help >/dev/null || exit $?
    # shellcheck disable=SC2086
    swapbin $allowed ${KEEP:+--keep "$KEEP"} ${1:+--cap "$1"} --help >/dev/null || exit $?
}

needs_root() {
    [ "$(id -u)" -eq 0 ] || die 3 "$name: changing a service of the system needs root: run it with sudo"
}

# A folder that is gone when the script is, however it ends.
make_work_folder() {
    # Not in a TMPDIR that came along with sudo -E: its owner could put other files in the place of these.
    work=$(unset TMPDIR && mktemp -d) || exit 3
    trap 'rm -rf "$work"' EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

# key_kind: what sort of key KEY is: the word in front of it, or minisign.
key_kind() {
    case $KEY in
    minisign:* | ssh:* | gpg:* | sigstore:*) printf '%s\n' "${KEY%%:*}" ;;
    *) echo minisign ;;
    esac
}

# signature_name: what fetch is to bring along as the signature by KEY: that of the list, or without one of each asset.
signature_name() {
    case $(key_kind) in
    ssh) suffix=sig ;;
    gpg) suffix=asc ;;
    sigstore) suffix=sigstore.json ;;
    *) suffix=minisig ;;
    esac
    printf '%s.%s\n' "${SUMS:-{asset\}}" "$suffix"
}

# fetched PATTERN: the name of the list or signature that fetch has brought for PATTERN, which is to verify a mere name.
fetched() {
    case $1 in
    *"{"* | *"*"*) ;;
    *)
        printf '%s\n' "$1"
        return
        ;;
    esac
    IFS= read -r asset <"$work/assets"
    found=$(find "${asset%/*}" -maxdepth 1 -type f -name "$(printf '%s\n' "$1" | sed 's/{[a-z]*}/*/g')" -printf '%f\n')
    case $found in
    '' | *"
"*) die 3 "$name: which file of ${asset%/*} is '$1' is not clear; name it without placeholders" ;;
    esac
    printf '%s\n' "$found"
}

# fetch_and_verify SELECTOR: the verified files, a line each: unit files in $work/units, all others in $work/files. Ends with the
# first failing code.
fetch_and_verify() {
    signature=$SIG
    [ -z "$KEY" ] || [ -n "$SIG" ] || signature=$(signature_name)
    set -- "$SOURCE${1:+@$1}" ${ASSET:+--asset "$ASSET"} ${SUMS:+--sums "$SUMS"} ${signature:+--sig "$signature"} ${INDEX:+--index "$INDEX"}
    # shellcheck disable=SC2086
    fetch $loudness ${pre:+--pre} ${POLICY:+--policy "$POLICY"} "$@" >"$work/assets" || exit $?
    SUMS=$(fetched "$SUMS") || exit $?
    SIG=$(fetched "$SIG") || exit $?
    set -- --floor "$name" ${POLICY:+--policy "$POLICY"} ${SUMS:+--sums "$SUMS"} ${SIG:+--sig "$SIG"} ${EXTRACT:+--extract "$EXTRACT"}
    [ -z "$KEY" ] || set -- "$@" "--$(key_kind)" "${KEY#"$(key_kind):"}"
    for who in $SIGNER; do set -- "$@" --signer "$who"; done
    rest=$RUN
    while [ -n "$rest" ]; do
        call=${rest%%;*}
        set -- "$@" --run "${call# }"
        case $rest in *';'*) rest=${rest#*;} ;; *) rest='' ;; esac
    done
    # shellcheck disable=SC2086
    verify $loudness "$@" ${RUN_AS:+--run-as "$RUN_AS"} --files-from "$work/assets" >"$work/verified" || exit $?
    # A program could be called so as well; then EXTRACT gives it another name.
    grep '\.\(service\|socket\|timer\)$' "$work/verified" >"$work/units" || :
    grep -vxF -f "$work/units" "$work/verified" >"$work/files" || die 1 "$name: the release gives units and no program; see EXTRACT (--extract)"
}

# The new file that the unit runs: the one called like the unit's program, like NAME, or the only one there is.
new_binary() {
    program=$(systemctl show --property=ExecStart "$UNIT" | sed -n 's/^ExecStart={ path=\([^ ;]*\).*/\1/p' | sed 1q)
    for candidate in "${program##*/}" "$name"; do
        while IFS= read -r file; do
            [ "${file##*/}" != "$candidate" ] || {
                printf '%s\n' "$file"
                return
            }
        done <"$work/files"
    done
    [ "$(wc -l <"$work/files")" -eq 1 ] || die 3 "$name: none of the new files is called ${program:+${program##*/} or }$name, so it is not known which one the unit runs"
    cat "$work/files"
}

# runs_this_version: whether the unit is healthy as it is, with the files in place.
runs_this_version() {
    # PROBES is split at blanks, and what looks like a pattern of file names (a URL's ?) is none.
    # shellcheck disable=SC2086
    (set -f && exec svc-wait --quiet "$UNIT" --timeout 5s --stable 0 $PROBES) 2>/dev/null
}

# The second half of a script is for its own first half alone.
only_under_the_guard() {
    if [ -z "${UPSWAP_NAME-}" ] || [ ! -d "${work-}" ]; then
        die 2 "--guarded is what the script calls itself with; see upswap $script --help"
    fi
    # Of the two halves the one that ends last clears up.
    trap 'kill -0 "$chain" 2>/dev/null || rm -rf "$work"' EXIT
}

# wait_for UNIT ARGUMENT...: svc-wait with what the profile says of health.
wait_for() {
    unit=$1
    shift
    # shellcheck disable=SC2086
    (set -f && exec svc-wait $loudness "$unit" ${TIMEOUT:+--timeout "$TIMEOUT"} ${STABLE:+--stable "$STABLE"} $PROBES "$@")
}

# forget_starts UNIT: the starts so far must not use up StartLimitBurst= for the one that is to come. Says nothing of a unit
# that is not loaded, which has none.
forget_starts() {
    systemctl reset-failed "$1" 2>/dev/null || :
}

# restart_as_it_is UNIT: a restart that no swap in this trial is the reason for, so that the guard has nothing to take back.
restart_as_it_is() {
    forget_starts "$1"
    before=$(state_of "$1")
    code=0
    wait_for "$1" -- systemctl ${quiet:+-q} restart "$1" || code=$?
    if [ "$code" -ne 0 ] && [ "$(state_of "$1")" != "$before" ]; then
        die 4 "$name: $1 was restarted with the files that were in place, and that is not healthy; take the version before: rollback $name"
    fi
    return "$code"
}

state_of() {
    systemctl show --property=ActiveState,InvocationID,MainPID,NRestarts "$1"
}

# under_the_guard: runs this script's second half; what the guard answers is the script's answer. The guard runs in the
# background so that a signal to this shell alone is passed on at once: it takes the change back, and this shell waits for that.
under_the_guard() {
    guard='' asked=''
    trap pass_on HUP INT QUIT TERM
    export chain=$$
    # shellcheck disable=SC2086
    rollback $loudness --guard "$name" --lock-wait "$lock_wait" -- "$0" --guarded </dev/null &
    guard=$!
    # One that came before there was a guard.
    [ -z "$asked" ] || kill "$guard" 2>/dev/null || :
    code=127
    while :; do
        asked='' ended=0
        wait "$guard" || ended=$?
        # A guard that was waited for already is not known any more.
        [ "$ended" -eq 127 ] || code=$ended
        # A signal ends the wait, not the guard.
        [ -n "$asked" ] || break
    done
    if [ "$code" -eq 137 ] && rollback --list "$name" 2>/dev/null | grep -q ' on trial '; then
        die 4 "$name: the guard was killed and left a trial open; end it: rollback $name"
    fi
    exit "$code"
}

# A guard in a scope of its own has left this shell behind in the unit that it upgrades: then it is systemd that ends this
# shell, with the old version, and that is no reason to take the new one back.
pass_on() {
    asked=yes
    [ -n "$guard" ] || return 0
    read_group "$$" && ours=$group && read_group "$guard" || return 0
    [ "$group" = "$ours" ] || leave_the_guard_alone
    kill "$guard" || :
} 2>/dev/null

# read_group PID: its control groups, read without a program: systemd would end that too, with all of the unit.
read_group() {
    group=''
    while IFS= read -r line; do
        group="$group $line"
    done <"/proc/$1/cgroup"
}

leave_the_guard_alone() {
    # The guard's half needs the folder still.
    trap - EXIT
    exit 143
}
