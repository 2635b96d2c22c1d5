# shellcheck shell=sh disable=SC2154
# The units of a change: what `upswap upgrade --refresh-unit` and `upswap install-service` put beside the programs. Sourced, never run.
#
# Each unit of the release has a folder $work/unit/UNIT: `new` is its text, `path` names the file that it becomes, `state` says
# whether systemd has it loaded. What refresh_unit adds: `diff`, the difference; `drop-in`, what carries the operator's edits.

# The drop-in beside a unit that is upswap's: first of them all, so that everybody else's go on applying over it.
drop_in=00-upswap.conf

# take_units: makes a folder for each unit file of the release.
take_units() {
    mkdir -p "$work/unit"
    while IFS= read -r file; do
        unit=${file##*/}
        case $unit in
        -* | *[!A-Za-z0-9:_.@\\-]*) die 1 "'$unit': the release has a unit of this name, which systemd would not take" ;;
        # systemd runs instances; the instance that this is about has its template's file.
        *@.*) unit=$(instance_of "$unit") || die 1 "${file##*/}: a template is taken only where UNIT is an instance of it; leave it out of EXTRACT" ;;
        esac
        mkdir "$work/unit/$unit"
        cp "$file" "$work/unit/$unit/new"
        printf '%s\n' "${file##*/}" >"$work/unit/$unit/file"
    done <"$work/units"
}

# instance_of TEMPLATE: UNIT, when it is an instance of it; false when not.
instance_of() {
    # shellcheck disable=SC2153
    case $UNIT in
    "${1%@.*}@"*".${1##*.}") printf '%s\n' "$UNIT" ;;
    *) return 1 ;;
    esac
}

# units_of_change: the units that have a folder, UNIT first.
units_of_change() {
    for unit in "$UNIT" $(find "$work/unit" -mindepth 1 -maxdepth 1 -type d ! -name "$UNIT" -printf '%f\n' | sort); do
        [ ! -e "$work/unit/$unit/new" ] || printf '%s\n' "$unit"
    done
}

# locate_unit UNIT: where the file of the unit is, or is to be.
locate_unit() {
    dir=$work/unit/$1
    state=$(systemctl show --property=LoadState --value "$1") || exit 3
    case $state in
    loaded)
        fragment=$(systemctl show --property=FragmentPath --value "$1")
        path=$fragment
        [ "$1" != "$UNIT" ] || path=${unit_path:-$path}
        case $path in
        '') die 1 "$1: no unit file is loaded to refresh; install it first: upswap install-service" ;;
        /usr/lib/* | /lib/*)
            die 1 "$path belongs to a package, and a unit in /etc would shadow it; say --unit-path if that is meant"
            ;;
        /run/*) die 1 "$1: $path is made anew at each boot, so a new one would be lost; refresh what it is made from" ;;
        "$fragment") ;;
        *"/${fragment##*/}") say "$1: what is loaded is $fragment; it stays, and $path is what comes in and goes before it" ;;
        *) say "$1: what is loaded is $fragment; it stays, and $path is what is replaced" ;;
        esac
        ;;
    not-found) path=/etc/systemd/system/$(cat "$dir/file") ;;
    *) die 1 "$1: it is $state here, so it can't be refreshed; mend that, or leave it out of EXTRACT" ;;
    esac
    printf '%s\n' "$path" >"$dir/path"
    printf '%s\n' "$state" >"$dir/state"
}

# base_path PATH: the copy of the unit at PATH as its release had it. It changes and goes back together with PATH. To swapbin
# it is a unit, by its folder's name.
base_path() {
    printf '%s/%s/systemd/%s\n' "${UPSWAP_STATE_DIR:-/var/lib/upswap}" "$name" "${1##*/}"
}

# swap_unit UNIT LIST: puts a unit with its drop-in in place and adds what changed to LIST; under the guard.
swap_unit() {
    dir=$work/unit/$1
    path=$(cat "$dir/path")
    : >"$dir/changed"
    [ ! -e "$dir/drop-in" ] || make_folder "$path.d"
    for what in "new=$path" "drop-in=$path.d/$drop_in"; do
        [ ! -e "$dir/${what%%=*}" ] || swap_one "$1" "$dir/${what%%=*}" "${what#*=}" >>"$dir/changed"
    done
    [ -s "$dir/changed" ] || return 0
    cat "$dir/changed" >>"$2"
    base=$(base_path "$path")
    make_folder "${base%/*}"
    swap_one "$1" "$dir/new" "$base" >/dev/null
}

# make_folder DIR: a folder that outlives a power cut as the trial's mark does; that names it. On the way back it stays, with the
# files for the way forward.
make_folder() {
    [ ! -d "$1" ] || return 0
    mkdir -m 0755 "$1"
    sync "${1%/*}"
}

# swap_one UNIT FILE DEST: one file of the change. A service besides UNIT runs on as it is, forward and back.
swap_one() {
    case $1 in
    "$UNIT" | *.socket | *.timer) belongs=$1 ;;
    *) belongs='' ;;
    esac
    # shellcheck disable=SC2086
    swapbin $loudness $allowed ${retry_failed:+--retry-failed} ${belongs:+--unit "$belongs"} ${keep:+--keep "$keep"} -T "$2" "$3"
}
