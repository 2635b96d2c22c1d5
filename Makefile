# upswap: the one door. `make help` lists what is behind it.
# The names of folders and programs are those of the GNU coding standards; DESTDIR goes in front of every installed path.

SHELL = /bin/sh
CARGO = cargo

prefix = /usr/local
exec_prefix = $(prefix)
bindir = $(exec_prefix)/bin
sbindir = $(exec_prefix)/sbin
libexecdir = $(exec_prefix)/libexec
# Not $(prefix)/etc: the profiles belong to the host, wherever the tools are.
sysconfdir = /etc
datarootdir = $(prefix)/share
mandir = $(datarootdir)/man
systemdsystemunitdir = $(prefix)/lib/systemd/system
systemduserunitdir = $(prefix)/lib/systemd/user
INSTALL = install
INSTALL_PROGRAM = $(INSTALL) -m 0755
INSTALL_DATA = $(INSTALL) -m 0644
program_transform_name = s,x,x,

target = $(or $(CARGO_TARGET_DIR),target)
# Where `make install` takes the tools from.
built = $(target)/release

BIN_TOOLS = fetch verify unit-render unit-diff svc-wait
SBIN_TOOLS = swapbin setcap-keep rollback
TOOLS = $(BIN_TOOLS) $(SBIN_TOOLS)
# What `upswap NAME` runs. The dispatcher goes to bindir, and deps is for this source tree.
SCRIPTS = $(filter-out deps upswap,$(notdir $(wildcard scripts/*)))
UNITS = $(notdir $(wildcard systemd/*.service systemd/*.timer systemd/*.path systemd/*.target))
USER_UNITS = $(notdir $(wildcard systemd/user/*.service systemd/user/*.timer))
# What pulls them in: TARGET.wants/UNIT, as the folders of systemd.unit(5) are called.
WANTS = sysinit.target.wants/upswap-recover.service timers.target.wants/upswap-settle.timer
USER_WANTS = basic.target.wants/upswap-recover.service timers.target.wants/upswap-settle.timer
PAGES = $(notdir $(wildcard man/*.[1578]))
VERSION = $(shell sed -n 's/^version = "\(.*\)"$$/\1/p' Cargo.toml | sed 1q)

DENY_VERSION = 0.20.2
DENY = target/tools/bin/cargo-deny

# The same everywhere: a script's, a page's or a program's installed name.
transformed = $$(echo "$$name" | sed '$(program_transform_name)')
libexec = $(libexecdir)/upswap
pkgconf = $(sysconfdir)/upswap

.DELETE_ON_ERROR:
# Cargo uses all cores by itself, and apt-get takes one at a time.
.NOTPARALLEL:

.PHONY: all build demo test crash soak slow fuzz lint bench man install uninstall dist clean help \
    rust lint-deps lint-rust lint-scripts lint-pages lint-licences

all: build ## The same as build

help: ## List these targets
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/\1|\2/p' Makefile | \
	while IFS='|' read -r target what; do printf '  make %-10s %s\n' "$$target" "$$what"; done

rust:
	@scripts/deps rust

build: rust ## Build the eight tools (optimised, into target/release)
	@scripts/deps build
	@echo '== build: the eight tools (a few minutes the first time)'
	@$(CARGO) build --release --locked --bins

demo: rust ## Show real upgrades of a service in a systemd container
	@scripts/deps build test
	@echo '== demo: building the tools and the demo service'
	@$(CARGO) test --quiet --locked --no-run --test demo
	@$(CARGO) test --quiet --locked --test demo

test: rust ## Run all tests: unit, cli, and system in containers
	@scripts/deps build test
	@echo '== test: unit, cli and system (some minutes the first time)'
	@$(CARGO) test --workspace --locked
	@echo '== test: verify with Sigstore'
	@$(CARGO) test --locked --features sigstore --test sigstore

crash: rust ## Run the crash tests in full: every call, every fault, 1,000 torn disks (about an hour)
	@scripts/deps build test
	@UPSWAP_SWEEP=full $(CARGO) test --locked --test crash -- --nocapture
	@UPSWAP_SWEEP=full $(CARGO) test --locked --test cli -- verify::hostile verify::signatures
	@UPSWAP_SWEEP=full $(CARGO) test --locked --test system -- --nocapture chain_kill reboot

soak: rust ## Swap 10,000 times under load
	@scripts/deps build test
	@UPSWAP_SOAK=10000 $(CARGO) test --locked --test crash soak -- --nocapture

fuzz: rust ## Fuzz every parser for 10 minutes each (UPSWAP_FUZZ=SECONDS)
	@scripts/deps build fuzz
	@fuzz/run

slow: rust ## Build real crates with fetch (needs the internet, some minutes)
	@scripts/deps build
	@$(CARGO) test --locked --test slow

lint: rust lint-deps lint-rust lint-scripts lint-pages lint-licences ## Check the code, the scripts, the man pages and the licences

lint-deps:
	@scripts/deps build lint

lint-rust:
	@echo '== lint: layout'
	@$(CARGO) fmt --all --check
	@$(CARGO) fmt --manifest-path fuzz/Cargo.toml --check
	@echo '== lint: clippy'
	@$(CARGO) clippy --workspace --all-targets --locked --quiet -- -D warnings
	@$(CARGO) clippy --locked --quiet --features sigstore --lib --bin verify --test sigstore -- -D warnings

lint-scripts:
	@echo '== lint: scripts'
	@files=$$(shfmt -f $(wildcard scripts tests benches examples fuzz) .ci/run) && shellcheck $$files && shfmt -d $$files

lint-pages:
	@echo '== lint: man pages'
	@mandoc -Tlint -W warning $(PAGES:%=man/%)
	@$(CARGO) run --quiet --locked --example man -- --check

lint-licences: $(DENY)
	@echo '== lint: licences, banned crates, sources'
	@$(DENY) --log-level error check licenses bans sources
	@$(DENY) --log-level error --manifest-path fuzz/Cargo.toml check licenses bans sources

# An unoptimised build takes a minute instead of five, and the check is as fast.
$(DENY):
	@echo '== lint: building cargo-deny $(DENY_VERSION) (about a minute, once)'
	@CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off \
	    $(CARGO) install --quiet --locked --root target/tools --version $(DENY_VERSION) cargo-deny

bench: build ## Compare the tools with what they replace, on this machine (some minutes)
	@scripts/deps test
	@$(CARGO) build --release --locked --package upswap-material --bin file-server --bin measured
	@benches/swap $(built)
	@benches/artifact $(built)
	@$(CARGO) bench --locked --bench wait

man: rust ## Write the tools' man pages again from their --help
	@scripts/deps build
	@$(CARGO) run --quiet --locked --example man

# Builds nothing, so that `sudo make install` leaves no files of root in the source tree.
install: ## Install what `make` has built (DESTDIR, prefix and so on as GNU has them)
	@for name in $(TOOLS); do \
	    [ -x "$(built)/$$name" ] || { echo "install: $(built)/$$name is not built; run 'make' first" >&2; exit 2; }; \
	done
	@set -e; umask 022; \
	$(INSTALL) -d "$(DESTDIR)$(bindir)" "$(DESTDIR)$(sbindir)" "$(DESTDIR)$(libexec)/tools" "$(DESTDIR)$(pkgconf)"; \
	install_tool() { \
	    $(INSTALL_PROGRAM) "$(built)/$$name" "$(DESTDIR)$$1/$(transformed)"; \
	    to=$$(realpath -ms --relative-to="$(libexec)/tools" "$$1/$(transformed)"); \
	    ln -sfn "$$to" "$(DESTDIR)$(libexec)/tools/$$name"; \
	}; \
	for name in $(BIN_TOOLS); do install_tool "$(bindir)"; done; \
	for name in $(SBIN_TOOLS); do install_tool "$(sbindir)"; done; \
	for name in $(SCRIPTS); do \
	    $(INSTALL_PROGRAM) "scripts/$$name" "$(DESTDIR)$(libexec)/$$name"; \
	    sed -i 's,/etc/upswap,$(pkgconf),g' "$(DESTDIR)$(libexec)/$$name"; \
	done; \
	name=upswap; dispatcher="$(DESTDIR)$(bindir)/$(transformed)"; \
	$(INSTALL_PROGRAM) scripts/upswap "$$dispatcher"; \
	to=$$(realpath -ms --relative-to="$(bindir)" "$(libexec)"); \
	sed -i "s,^libexec=\.$$,libexec=$$to," "$$dispatcher"; \
	for page in $(PAGES); do \
	    section=$${page##*.}; name=$${page%.*}; \
	    to="$(DESTDIR)$(mandir)/man$$section/$(transformed).$$section"; \
	    $(INSTALL) -d "$(DESTDIR)$(mandir)/man$$section"; \
	    $(INSTALL_DATA) "man/$$page" "$$to"; \
	    sed -i 's,/etc/upswap,$(pkgconf),g' "$$to"; \
	    gzip -n9f "$$to"; \
	done; \
	install_unit() { \
	    $(INSTALL_DATA) "systemd/$$1" "$(DESTDIR)$$2"; \
	    name=rollback; sed -i "s,/usr/local/sbin/rollback,$(sbindir)/$(transformed)," "$(DESTDIR)$$2"; \
	}; \
	link_unit() { \
	    $(INSTALL) -d "$(DESTDIR)$${1%/*}"; \
	    ln -sfn "../$${1##*/}" "$(DESTDIR)$$1"; \
	}; \
	$(INSTALL) -d "$(DESTDIR)$(systemdsystemunitdir)" "$(DESTDIR)$(systemduserunitdir)"; \
	for unit in $(UNITS); do install_unit "$$unit" "$(systemdsystemunitdir)/$$unit"; done; \
	for unit in $(USER_UNITS); do install_unit "user/$$unit" "$(systemduserunitdir)/$$unit"; done; \
	for link in $(WANTS); do link_unit "$(systemdsystemunitdir)/$$link"; done; \
	for link in $(USER_WANTS); do link_unit "$(systemduserunitdir)/$$link"; done
	@[ -n "$(DESTDIR)" ] || [ ! -d /run/systemd/system ] || \
	    echo 'install: begin to settle killed upgrades now, not at the next boot: systemctl daemon-reload && systemctl start upswap-settle.timer'

uninstall: ## Remove what `make install` installed (profiles and state stay)
	@for name in $(BIN_TOOLS) upswap; do rm -f "$(DESTDIR)$(bindir)/$(transformed)"; done; \
	for name in $(SBIN_TOOLS); do rm -f "$(DESTDIR)$(sbindir)/$(transformed)"; done; \
	for name in $(TOOLS); do rm -f "$(DESTDIR)$(libexec)/tools/$$name"; done; \
	for name in $(SCRIPTS); do rm -f "$(DESTDIR)$(libexec)/$$name"; done; \
	for page in $(PAGES); do \
	    section=$${page##*.}; name=$${page%.*}; \
	    rm -f "$(DESTDIR)$(mandir)/man$$section/$(transformed).$$section.gz"; \
	done; \
	for unit in $(UNITS) $(WANTS); do rm -f "$(DESTDIR)$(systemdsystemunitdir)/$$unit"; done; \
	for unit in $(USER_UNITS) $(USER_WANTS); do rm -f "$(DESTDIR)$(systemduserunitdir)/$$unit"; done; \
	wants='$(dir $(addprefix $(systemdsystemunitdir)/,$(WANTS)) $(addprefix $(systemduserunitdir)/,$(USER_WANTS)))'; \
	for dir in $$wants; do \
	    [ ! -d "$(DESTDIR)$$dir" ] || rmdir --ignore-fail-on-non-empty "$(DESTDIR)$$dir"; \
	done; \
	for dir in "$(libexec)/tools" "$(libexec)" "$(pkgconf)"; do \
	    [ ! -d "$(DESTDIR)$$dir" ] || rmdir --ignore-fail-on-non-empty "$(DESTDIR)$$dir"; \
	done

dist: ## Pack the committed source tree (into target/dist)
	@mkdir -p target/dist
	@git archive --format=tar.gz -9 --prefix=upswap-$(VERSION)/ --output=target/dist/upswap-$(VERSION).tar.gz HEAD
	@cd target/dist && sha256sum upswap-$(VERSION).tar.gz | tee SHA256SUMS

clean: ## Remove what was built
	@$(CARGO) clean
