# Makes the cell around a program and starts it there: SIZE NAME PROC, then pairs of what to do and a path, then -- and the command.
# Runs as root of its namespaces, the program's bytes on standard input. All that it mounts is gone with its namespace.
set -e
umask 022
trap 'echo "upswap: no cell" >&2; exit 125' EXIT
size=$1 name=$2 proc=$3
shift 3
# When memory runs out, it goes first.
echo 1000 2>/dev/null >/proc/self/oom_score_adj || :
# /run is the host's sockets; in its place there is a copy of the program, in memory, where no mount forbids to execute it.
mount -n -t tmpfs -o "mode=0755,nosuid,nodev,size=$size" upswap /run
mkdir /run/upswap /run/dev
cat >"/run/upswap/$name"
chmod 755 "/run/upswap/$name"
mount -n -t tmpfs -o mode=0755,nosuid,noexec,size=64k upswap /run/dev
for node in null zero full random urandom; do
    : >"/run/dev/$node"
    mount -n --bind "/dev/$node" "/run/dev/$node"
done
ln -s /proc/self/fd /run/dev/fd
mkdir /run/dev/shm
mount -n -t tmpfs -o mode=1777,nosuid,nodev,size=64m upswap /run/dev/shm
for folder in /tmp /var/tmp; do
    [ ! -d "$folder" ] || mount -n -t tmpfs -o mode=1777,nosuid,nodev,size=64m upswap "$folder"
done
while [ "$1" != -- ]; do
    case $1 in
    socket) [ ! -S "$2" ] || mount -n --bind /run/dev/null "$2" ;;
    # One that was unmounted since the list was made is not there to be made read-only.
    *) said=$(mount -n -o "$1" none "$2" 2>&1) || ! mountpoint -q "$2" || { echo "$said" >&2; exit 1; } ;;
    esac
    shift 2
done
shift
mount -n --rbind /run/dev /dev
mount -n -o remount,bind,ro,nosuid,noexec none /dev
mount -n -o remount,bind,ro,nosuid,nodev none /run
mount -n -t proc -o "$proc,nosuid,nodev,noexec" upswap /proc
# Gone when it succeeds.
exec "$@" </dev/null
