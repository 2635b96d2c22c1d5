# shellcheck shell=sh
# Sourced by the scripts beside it.

# Prints where this host's apt gets Debian from, nothing when it gets something else: mmdebstrap then knows one.
mirror() {
    command -v apt-get >/dev/null || return 0
    # The $(…) are apt's own.
    # shellcheck disable=SC2016
    apt-get indextargets --format '$(ORIGIN) $(LABEL) $(REPO_URI)' 2>/dev/null |
        awk '$1 == "Debian" && $2 == "Debian" { print $3; exit }'
}
