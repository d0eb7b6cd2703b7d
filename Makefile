# SPDX-License-Identifier: MIT
# spillfs: see README.md.  `make demo` and `make check` are the two commands.

CC      ?= gcc
PKGS    := fuse3 libzstd sqlite3 libcrypto libxxhash jansson
PREFIX  ?= /usr/local
SBINDIR ?= $(PREFIX)/sbin
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
CPPFLAGS += -Iinclude -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64
ALL_CFLAGS = -std=gnu17 $(WARN) $(CFLAGS) -pthread -MMD -MP \
	$(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer) $(PKG_CFLAGS)
PKG_CFLAGS = $(shell pkg-config --cflags $(PKGS))
PKG_LIBS = $(shell pkg-config --libs $(PKGS))
ALL_LDFLAGS = $(LDFLAGS) -pthread $(if $(SAN),-fsanitize=$(SAN))

MODULES := base config metrics hot store index heat layers tier fs ctl mnt
LIB_SRC := $(sort $(wildcard $(MODULES:%=src/%/*.c)))
LIB_OBJ := $(LIB_SRC:%.c=$(BUILD)/%.o)
PROGS   := $(BUILD)/spillfs $(BUILD)/spillctl
UNIT_SRC := $(sort $(wildcard tests/unit/*_test.c))
UNIT    := $(UNIT_SRC:tests/unit/%.c=$(BUILD)/tests/%)
TOOL_SRC := $(sort $(wildcard tests/tools/*.c))
TOOLS   := $(TOOL_SRC:tests/tools/%.c=$(BUILD)/tools/%)

.PHONY: all setup demo check bench-quick install uninstall clean format format-check tools unit
all: $(PROGS)

$(BUILD)/libspill.a: $(LIB_OBJ)
	@rm -f $@
	$(AR) rcs $@ $^

$(BUILD)/spillfs: $(patsubst %.c,$(BUILD)/%.o,$(wildcard src/spillfs/*.c)) $(BUILD)/libspill.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(PKG_LIBS)

$(BUILD)/spillctl: $(patsubst %.c,$(BUILD)/%.o,$(wildcard src/spillctl/*.c)) $(BUILD)/libspill.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(PKG_LIBS)

$(BUILD)/tests/%: $(BUILD)/tests/unit/%.o $(BUILD)/libspill.a
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(PKG_LIBS)

$(BUILD)/tools/%: $(BUILD)/tests/tools/%.o $(BUILD)/libspill.a
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(PKG_LIBS)

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -c -o $@ $<

tools: all $(TOOLS)
unit: $(UNIT)

# Set-up installs Debian packages; it is a no-op when they are there.
setup:
	scripts/setup build

demo:
	scripts/setup build demo
	$(MAKE) all
	scripts/demo

check:
	scripts/setup build check
	$(MAKE) all tools unit
	tests/run

bench-quick:
	scripts/setup build bench
	$(MAKE) all tools
	scripts/bench quick

install: all
	install -D -m 0755 $(BUILD)/spillfs $(DESTDIR)$(SBINDIR)/spillfs
	install -D -m 0755 $(BUILD)/spillctl $(DESTDIR)$(SBINDIR)/spillctl
	install -d $(DESTDIR)$(HELPERDIR)
	ln -sf $(SBINDIR)/spillfs $(DESTDIR)$(HELPERDIR)/mount.spillfs
	install -d $(DESTDIR)$(UNITDIR)
	install -m 0644 scripts/systemd/*.mount scripts/systemd/*.service $(DESTDIR)$(UNITDIR)

uninstall:
	rm -f $(DESTDIR)$(SBINDIR)/spillfs $(DESTDIR)$(SBINDIR)/spillctl $(DESTDIR)$(HELPERDIR)/mount.spillfs

clean:
	rm -rf build build-address build-thread

FORMAT_SRC = $(shell git ls-files '*.c' '*.h')
format:
	clang-format -i $(FORMAT_SRC)
format-check:
	clang-format --dry-run -Werror $(FORMAT_SRC)

-include $(LIB_OBJ:.o=.d) $(wildcard $(BUILD)/src/spillfs/*.d $(BUILD)/src/spillctl/*.d $(BUILD)/tests/*/*.d)
.SECONDARY:
