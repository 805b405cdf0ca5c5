# Ferro's one Makefile.  `make help` lists what it can do.
#
# Everything it makes lies under B: build/, or build/san-LIST/ with SAN=LIST, so
# that a plain and a sanitized build live side by side.  Sources are found by
# directory.

SAN   ?=
SEEDS ?= 20000
PREFIX ?= /usr/local
DESTDIR ?=
comma := ,
B := build$(if $(SAN),/san-$(subst $(comma),-,$(SAN)))

CC := gcc
WARN := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes
CFLAGS := -std=gnu11 -g $(WARN) -fPIC -fvisibility=hidden -fstack-protector-strong \
          $(if $(SAN),-O1 -fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer,-O2)
CPPFLAGS := -I. -Iinclude -D_GNU_SOURCE $(if $(SAN),,-D_FORTIFY_SOURCE=2) -MMD -MP
LDFLAGS := -Wl,-z,relro,-z,now,--as-needed $(if $(SAN),-fsanitize=$(SAN))
LIBS := -lczmq -lzmq -lsodium -lmsgpackc -lxxhash -llz4 -lsqlite3 -ljansson -lpthread -ldl -lm
VERSION = $(shell sed -n 's/.*FERRO_VERSION "\(.*\)"/\1/p' common/base/version.h)

# ---- sources ---------------------------------------------------------------
all_in = $(foreach d,$(1),$(wildcard $(d)/*.c))
objects = $(patsubst %.c,$(B)/obj/%.o,$(1))

COMMON := $(call all_in,common/*)
LIBFERRO := $(call all_in,driver/api engine engine/* common/base common/proto)
HOST := $(call all_in,executor/host)
MANAGER := $(call all_in,manager manager/*)
EXECUTOR := $(call all_in,executor executor/core executor/blocks)
DRIVER := $(call all_in,driver driver/sched driver/serve)
CLI := $(call all_in,cli)
MAINS := manager/main.c executor/main.c driver/main.c cli/main.c executor/host/main.c
UNITS := $(filter-out $(MAINS),$(sort $(COMMON) $(LIBFERRO) $(HOST) $(MANAGER) $(EXECUTOR) $(DRIVER) $(CLI)))

UNIT_TESTS := $(call all_in,tests/unit)
CLUSTER_TESTS := $(call all_in,tests/cluster)
SIM := $(call all_in,tests/sim tests/plant manager/core driver/sched executor/core common/base common/proto common/core)
BENCH := $(call all_in,bench)
DATA := $(call all_in,bench/data)
LIMITS := $(call all_in,bench/limits)
REFS := $(call all_in,bench/ref)
REFTOOLS := $(call all_in,bench/ref/lib)
SOURCES := $(sort $(UNITS) $(MAINS) $(UNIT_TESTS) $(CLUSTER_TESTS) $(SIM) $(BENCH) $(DATA) $(LIMITS) $(REFS) $(REFTOOLS))
STYLED := $(wildcard include/*.h examples/*.c examples/*.cc) $(filter %.c %.h,$(wildcard $(sort $(SOURCES) $(addsuffix *.h,$(dir $(SOURCES))))))

# ---- products --------------------------------------------------------------
so := $(B)/lib/libferro.so.0
common := $(B)/obj/common.a
PROGRAMS := $(addprefix $(B)/bin/,ferro-manager ferro-executor ferro-host ferro-driver ferro)
PRODUCTS := $(so) $(B)/lib/libferro.so $(PROGRAMS) $(B)/include/ferro.h
TESTS := $(addprefix $(B)/tests/,unit cluster sim)
BENCHES := $(patsubst bench/ref/%.c,$(B)/bench/%,$(REFS)) $(patsubst bench/limits/%.c,$(B)/bench/limit-%,$(LIMITS)) \
           $(patsubst bench/%.c,$(B)/bench/%,$(BENCH))

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: all run test bench bench-peers sim format lint install clean help deps FORCE

all: $(PRODUCTS) ## Build the library and the programs (SAN=address,undefined: with sanitizers)

run: all ## Count words on a cluster of four processes, from nothing to the result
	@B=$(B) examples/run.sh

test: all $(TESTS) $(BENCHES) ## Run every test (PARTS="unit sim" only some; SAN=address,undefined)
	@B=$(B) SAN=$(SAN) tests/run-tests.sh

bench: all $(BENCHES) ## Measure, each figure beside its limit; writes build/bench.json
	@B=$(B) bench/run.sh

bench-peers: all $(BENCHES) ## DuckDB, Polars and Spark, where they are installed, beside the references and Ferro
	@B=$(B) bench/peers.sh

sim: $(B)/tests/sim ## Search for failures in simulated clusters (SEEDS=20000)
	@$(B)/tests/sim --seeds $(SEEDS)

format: deps ## Lay the sources out by .clang-format
	clang-format -i $(STYLED)

lint: deps ## Check the layout, and the code with cppcheck
	clang-format --dry-run -Werror $(STYLED)
	cppcheck --quiet --error-exitcode=1 --std=c11 --enable=warning,portability --inline-suppr \
	    --suppress=missingIncludeSystem --suppress=varFuncNullUB -D_GNU_SOURCE -D__x86_64__ -I. -Iinclude $(filter-out tests/%,$(filter %.c,$(STYLED)))

install: all ## Install below PREFIX=/usr/local (DESTDIR for packagers)
	install -d $(addprefix $(DESTDIR)$(PREFIX)/,bin include lib/pkgconfig share/doc/ferro)
	install $(PROGRAMS) $(DESTDIR)$(PREFIX)/bin
	install -m 644 $(so) $(DESTDIR)$(PREFIX)/lib
	ln -sf libferro.so.0 $(DESTDIR)$(PREFIX)/lib/libferro.so
	install -m 644 include/ferro.h $(DESTDIR)$(PREFIX)/include
	install -m 644 README.md LICENSE SECURITY.md $(DESTDIR)$(PREFIX)/share/doc/ferro
	printf '%s\n' 'prefix=$(PREFIX)' 'Name: ferro' 'Description: Jobs in C on a cluster' 'Version: $(VERSION)' \
	    'Cflags: -I$${prefix}/include' 'Libs: -L$${prefix}/lib -lferro' > $(DESTDIR)$(PREFIX)/lib/pkgconfig/ferro.pc

clean: ## Remove everything that was built
	rm -rf build

help: ## List these targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18

# Name and install missing Debian packages.  Only a goal that promises it
# installs anything; a plain `make` names what is missing and stops.
INSTALLS := $(filter run test bench bench-peers sim deps format lint,$(MAKECMDGOALS))
deps: ## Install the Debian packages that are missing (DEPS=no: only name them)
	@DEPS=$(or $(DEPS),$(if $(INSTALLS),yes,no)) docker/deps.sh build $(if $(filter test,$(INSTALLS)),test docker) \
	    $(if $(filter format lint,$(INSTALLS)),lint)

# ---- rules -----------------------------------------------------------------
# The command lines and the list of sources: what depends on these is made again
# when they change, as when a file is removed.
remember = @mkdir -p $(@D); echo '$(1)' | cmp -s - $@ || echo '$(1)' > $@
$(B)/obj/flags: FORCE | deps
	$(call remember,$(CC) $(CFLAGS) $(CPPFLAGS) $(LDFLAGS) $(LIBS))
$(B)/obj/sources: FORCE | deps
	$(call remember,$(SOURCES))

compile = @mkdir -p $(@D); echo "  cc    $<"; $(CC) $(CPPFLAGS) $(CFLAGS) $(1) -c -o $@ $<
# Objects and archives among the prerequisites, linked with flags and libraries.
link = @mkdir -p $(@D); echo "  link  $@"; $(CC) $(CFLAGS) $(LDFLAGS) $(1) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(2)

$(B)/obj/%.o: %.c $(B)/obj/flags | deps
	$(call compile)
$(B)/obj/bench/%.o: bench/%.c $(B)/obj/flags | deps
	$(call compile,$(if $(filter x86_64,$(shell uname -m)),-march=x86-64-v2))
$(B)/sim/%.o: %.c $(B)/obj/flags | deps
	$(call compile,-DFERRO_PLANTS)

$(common): $(call objects,$(COMMON))
$(B)/obj/units.a: $(call objects,$(UNITS))
$(common) $(B)/obj/units.a: $(B)/obj/sources
	@mkdir -p $(@D); rm -f $@; $(AR) rcs $@ $(filter %.o,$^)

$(so): $(call objects,$(LIBFERRO)) driver/api/libferro.map $(B)/obj/sources
	$(call link,-shared -Wl$(comma)-soname$(comma)$(@F) -Wl$(comma)-z$(comma)defs -Wl$(comma)--exclude-libs$(comma)ALL \
	    -Wl$(comma)--version-script=driver/api/libferro.map, \
	    -Wl$(comma)-Bstatic -lmsgpackc -llz4 -lxxhash -lsodium -Wl$(comma)-Bdynamic -lpthread -ldl -lm)
$(B)/lib/libferro.so: $(so)
	@ln -sf $(<F) $@
$(B)/include/ferro.h: include/ferro.h
	@mkdir -p $(@D); cp $< $@

$(B)/bin/ferro-manager: $(call objects,$(MANAGER))
$(B)/bin/ferro-executor: $(call objects,$(EXECUTOR))
$(B)/bin/ferro: $(call objects,$(CLI))
$(B)/bin/ferro-manager $(B)/bin/ferro-executor $(B)/bin/ferro: $(common) $(B)/obj/sources
	$(call link,-pie,$(LIBS))

# These two use libferro as jobs do; a task host has nothing else.
with_libferro := -L$(B)/lib -l:libferro.so.0 -Wl,-rpath,'$$ORIGIN/../lib'
$(B)/bin/ferro-driver: $(call objects,$(DRIVER)) $(common) $(so) $(B)/obj/sources
	$(call link,-pie,$(with_libferro) $(LIBS))
$(B)/bin/ferro-host: $(call objects,$(HOST)) $(common) $(so) $(B)/obj/sources
	$(call link,-pie,$(with_libferro))

$(B)/tests/unit: $(call objects,$(UNIT_TESTS)) $(B)/obj/units.a
$(B)/tests/cluster: $(call objects,$(CLUSTER_TESTS)) $(common)
$(B)/tests/sim: $(SIM:%.c=$(B)/sim/%.o)
$(TESTS): $(B)/obj/sources
	$(call link,-pie,$(if $(filter %/sim,$@),,-lcriterion) $(LIBS))

$(B)/bench/limit-%: $(B)/obj/bench/limits/%.o $(common)
	$(call link,-pie,$(LIBS))
$(B)/bench/%: $(B)/obj/bench/ref/%.o $(call objects,$(REFTOOLS))
	$(call link,-pie,-lpthread -lm)
$(B)/bench/data: $(call objects,$(DATA))
$(B)/bench/%: $(B)/obj/bench/%.o $(common)
	$(call link,-pie,$(LIBS))

-include $(patsubst %.o,%.d,$(call objects,$(SOURCES)) $(SIM:%.c=$(B)/sim/%.o))
