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
    [ ! -e "$work/unit/$UNIT/new" ] || printf '%s\n' "$UNIT"
    for unit in $(find "$work/unit" -mindepth 1 -maxdepth 1 -type d -printf '%f\n' | sort); do
        [ "$unit" = "$UNIT" ] || [ ! -e "$work/unit/$unit/new" ] || printf '%s\n' "$unit"
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
        *)
            say "$1: what is loaded is $fragment; it stays, and $path is what is replaced"
            : >"$dir/apart"
            ;;
        esac
        [ ! -L "$path" ] || die 1 "$1: $path is a link to $(readlink "$path"), which is not where units are; put the file itself there, or refresh it by hand"
        ;;
    not-found) path=/etc/systemd/system/$(cat "$dir/file") ;;
    *) die 1 "$1: it is $state here, so it can't be refreshed; mend that, or leave it out of EXTRACT" ;;
    esac
    printf '%s\n' "$path" >"$dir/path"
    printf '%s\n' "$state" >"$dir/state"
}

# drop_in_fits UNIT: whether systemd would read the drop-in where it is to be: not in a folder that is none or is elsewhere, and
# not beside another one of its name, of which systemd reads one alone.
drop_in_fits() {
    if [ -L "$path.d" ] || { [ -e "$path.d" ] && [ ! -d "$path.d" ]; }; then
        die_unless_planned "$1: $path.d is not a folder, so your edits can't be carried there; make it one"
        return 0
    fi
    for other in $(systemctl show --property=DropInPaths --value "$1"); do
        case $other in
        "$path.d/$drop_in") ;;
        *"/$drop_in") die_unless_planned "$1: there is $other already, and systemd reads one drop-in of that name alone; give it another name" ;;
        esac
    done
}

# is_taken UNIT: systemd has to have read what was put in place: a service that runs on would not come up again with a unit
# that systemd refuses, and a drop-in that is not read carries nothing. After a daemon-reload.
is_taken() {
    dir=$work/unit/$1
    [ -s "$dir/changed" ] || return 0
    path=$(cat "$dir/path")
    now=$(systemctl show --property=LoadState --value "$1") || exit 3
    [ "$now" = loaded ] || die 1 "$1: systemd does not take $path as it is now: it is $now"
    while IFS= read -r changed; do
        now=$(systemctl show --property=FragmentPath --property=DropInPaths --value "$1" | tr '\n' ' ')
        case " $now " in
        *" $changed "*) ;;
        # What another file is made of.
        *) { [ "$changed" = "$path" ] && [ -e "$dir/apart" ]; } || die 1 "$1: systemd does not read $changed; it reads: $now" ;;
        esac
    done <"$dir/changed"
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
    # What nobody else may read in the unit, nobody else may read in the drop-in: it has been a part of it.
    private=''
    [ ! -e "$path" ] || [ -e "$path.d/$drop_in" ] || private=$(printf '%o\n' $((0$(stat -c %a "$path") & 0644)))
    for what in "new=$path" "drop-in=$path.d/$drop_in"; do
        mode=''
        [ "${what%%=*}" = new ] || mode=$private
        [ ! -e "$dir/${what%%=*}" ] || swap_one "$1" "$dir/${what%%=*}" "${what#*=}" >>"$dir/changed"
    done
    mode=''
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
    swapbin $loudness $allowed ${retry_failed:+--retry-failed} ${belongs:+--unit "$belongs"} ${keep:+--keep "$keep"} ${mode:+--mode "$mode"} -T "$2" "$3"
}
