# SPDX-License-Identifier: MIT
# spillfs: see README.md.  `make demo` and `make check` are the two commands.

ifeq ($(origin CC),default)
CC      := gcc
endif
PKGS    := fuse3 libzstd sqlite3 libcrypto libxxhash jansson
# only in spillctl (and the unit tests): src/doctor
CTL_PKGS := yaml-0.1
PREFIX  ?= /usr/local
SBINDIR ?= $(PREFIX)/sbin
MANDIR  ?= $(PREFIX)/share/man
DATADIR ?= $(PREFIX)/share
UNITDIR ?= /lib/systemd/system
# mount(8) looks for helpers only in /sbin.
HELPERDIR ?= /sbin
DESTDIR ?=

# SAN=address,undefined or SAN=thread builds into its own directory.
SAN     ?=
BUILD   ?= build$(if $(SAN),-$(firstword $(subst $(comma), ,$(SAN))))
comma   := ,

OPT     ?= -O2
WARN    := -Wall -Wextra -Wshadow -Wmissing-prototypes -Wstrict-prototypes $(if $(CI),-Werror)
CFLAGS  ?= $(OPT) -g
ALL_CPPFLAGS = -Iinclude -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 $(CPPFLAGS)
# UBSan only prints by default: a finding must fail the test.
SANFLAGS = $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer \
	$(if $(findstring undefined,$(SAN)),-fno-sanitize-recover=undefined))
ALL_CFLAGS = -std=gnu17 $(WARN) $(CFLAGS) -pthread -MMD -MP $(SANFLAGS) $(PKG_CFLAGS)
ALL_LDFLAGS = $(LDFLAGS) -pthread $(SANFLAGS)
# Asked once, and only when something is compiled: `make check` on a bare machine installs pkg-config first.
PKG_CFLAGS = $(eval PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) $(CTL_PKGS)))$(PKG_CFLAGS)
CTL_LIBS = $(eval CTL_LIBS := $(shell pkg-config --libs $(CTL_PKGS)))$(CTL_LIBS)
PKG_LIBS = $(eval PKG_LIBS := $(shell pkg-config --libs $(PKGS)))$(PKG_LIBS)

MODULES := base config metrics policy hot store index layers tier fs ctl mnt doctor
LIB_SRC := $(sort $(wildcard $(MODULES:%=src/%/*.c)))
LIB_OBJ := $(LIB_SRC:%.c=$(BUILD)/%.o)
PROGS   := $(BUILD)/spillfs $(BUILD)/spillctl
UNIT_SRC := $(sort $(wildcard tests/unit/*_test.c))
UNIT    := $(UNIT_SRC:tests/unit/%.c=$(BUILD)/tests/%)
TOOL_SRC := $(sort $(wildcard tests/tools/*.c))
PRELOAD := $(patsubst tests/tools/preload/%.c,$(BUILD)/tools/%.so,$(wildcard tests/tools/preload/*.c))
TOOLS   := $(TOOL_SRC:tests/tools/%.c=$(BUILD)/tools/%) $(PRELOAD)

SCENARIO_ARGS ?=
.PHONY: all policysim setup demo scenario check bench bench-quick install uninstall clean format format-check tools unit
all: $(PROGS)

$(BUILD)/libspill.a: $(LIB_OBJ)
	@rm -f $@
	$(AR) rcs $@ $^

$(BUILD)/spillfs: $(patsubst %.c,$(BUILD)/%.o,$(wildcard src/spillfs/*.c)) $(BUILD)/libspill.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(PKG_LIBS)

$(BUILD)/spillctl: $(patsubst %.c,$(BUILD)/%.o,$(wildcard src/spillctl/*.c)) $(BUILD)/libspill.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(CTL_LIBS) $(PKG_LIBS)

$(BUILD)/tests/%: $(BUILD)/tests/unit/%.o $(BUILD)/libspill.a
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(CTL_LIBS) $(PKG_LIBS)

$(BUILD)/tools/%: $(BUILD)/tests/tools/%.o $(BUILD)/libspill.a
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(PKG_LIBS)

$(BUILD)/tools/%.so: tests/tools/preload/%.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -fPIC -shared -o $@ $< -ldl

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -c -o $@ $<

tools: all $(TOOLS)
unit: $(UNIT)

# Set-up installs Debian packages; it is a no-op when they are there.
setup:
	scripts/setup build

demo:
	scripts/setup build demo
	$(MAKE) all
	scripts/demo

# SCENARIO_ARGS=--short is what `make check` runs
scenario:
	scripts/setup build demo
	$(MAKE) all tools
	scripts/scenario $(SCENARIO_ARGS)

# A week of a CI node, replayed against the policy, LRU and the clairvoyant optimum.
policysim: $(BUILD)/tools/policysim
	$<

check:
	scripts/setup build check
	$(MAKE) all tools unit
	tests/run

bench bench-quick:
	scripts/setup build bench
	$(MAKE) all tools
	scripts/bench $(if $(filter bench,$@),full,quick)

MAN     := $(wildcard man/*.[1-8] src/*/*.[1-8])
UNITS   := $(wildcard scripts/systemd/*.mount scripts/systemd/*.service)
EXAMPLES := $(wildcard scripts/systemd/*.example)
# completion file -> where its shell looks
COMPLETIONS := $(foreach c,bash:bash-completion/completions/spillctl zsh:zsh/site-functions/_spillctl \
	fish:fish/vendor_completions.d/spillctl.fish,\
	$(if $(wildcard scripts/completions/spillctl.$(firstword $(subst :, ,$c))),$c))
completion_src = scripts/completions/spillctl.$(firstword $(subst :, ,$1))
completion_dst = $(DATADIR)/$(lastword $(subst :, ,$1))
man_dst = $(MANDIR)/man$(patsubst .%,%,$(suffix $1))/$(notdir $1)

# each expands to one recipe line per file
define newline


endef
install: all
	install -D -m 0755 $(BUILD)/spillfs $(DESTDIR)$(SBINDIR)/spillfs
	install -D -m 0755 $(BUILD)/spillctl $(DESTDIR)$(SBINDIR)/spillctl
	install -d $(DESTDIR)$(HELPERDIR)
	ln -sf $(SBINDIR)/spillfs $(DESTDIR)$(HELPERDIR)/mount.spillfs
	install -m 0755 scripts/umount.fuse.spillfs $(DESTDIR)$(HELPERDIR)/umount.fuse.spillfs
	install -d $(DESTDIR)$(UNITDIR)
	$(foreach f,$(UNITS),sed 's,/usr/local/sbin/,$(SBINDIR)/,' $f >$(DESTDIR)$(UNITDIR)/$(notdir $f)$(newline)	)
	$(foreach f,$(EXAMPLES),install -D -m 0644 $f $(DESTDIR)$(DATADIR)/doc/spillfs/$(notdir $f)$(newline)	)
	$(foreach f,$(MAN),install -D -m 0644 $f $(DESTDIR)$(call man_dst,$f)$(newline)	)
	$(foreach c,$(COMPLETIONS),install -D -m 0644 $(call completion_src,$c) \
		$(DESTDIR)$(call completion_dst,$c)$(newline)	)

# Only files: mounts, stores and stubs stay as they are (`spillctl recall DIR` brings data back first).
uninstall:
	rm -f $(addprefix $(DESTDIR),$(SBINDIR)/spillfs $(SBINDIR)/spillctl $(HELPERDIR)/mount.spillfs \
		$(HELPERDIR)/umount.fuse.spillfs $(foreach f,$(EXAMPLES),$(DATADIR)/doc/spillfs/$(notdir $f)) \
		$(foreach f,$(UNITS),$(UNITDIR)/$(notdir $f)) $(foreach f,$(MAN),$(call man_dst,$f)) \
		$(foreach c,$(COMPLETIONS),$(call completion_dst,$c)))

clean:
	rm -rf $(foreach b,build build-gcc build-clang,$b $b-address $b-thread)

FORMAT_SRC = $(shell git ls-files '*.c' '*.h')
format:
	clang-format -i $(FORMAT_SRC)
format-check:
	clang-format --dry-run -Werror $(FORMAT_SRC)

-include $(LIB_OBJ:.o=.d) $(wildcard $(BUILD)/src/spillfs/*.d $(BUILD)/src/spillctl/*.d $(BUILD)/tests/*/*.d)
.SECONDARY:
