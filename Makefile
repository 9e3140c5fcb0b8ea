# limpet's Makefile: what is built, from what, and how it is tested.
#
#   all  run  install  clean  deps          the program, and what it is built from
#   test                                    everything that CI runs, with a sum at the end
#   test-long                               what is longer or heavier, with a sum, too
#   test-unit  fuzz  test-e2e  test-asan  test-tsan  test-fault  test-bench  test-wolfcrypt  lint
#   test-stress  test-processors  test-draw  format                                 parts
#   bench  bench-tls  bench-micro  bench-report    figures beside HAProxy and nginx; BENCH=quick is
#                                           short
#
# Sources are found by wildcard. Every build variant (release, debug, asan, tsan, fuzz, ...) comes
# from the same rules under build/<variant>/; the finished release program is build/limpet.

PREFIX ?= /usr/local
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += --jobs=$(shell nproc) --no-print-directory
endif

HASH_SRC := $(wildcard base/*.c hash/*.c)
LIB_SRC  := $(filter-out lb/cli/main.c,$(HASH_SRC) $(wildcard config/*.c tls/*.c lb/*.c lb/*/*.c))
UNIT     := $(wildcard tests/unit/test_*.c)
FUZZ     := $(wildcard tests/fuzz/fuzz_*.c)
# What several tests of one folder use is linked to each of them.
UNIT_HELP := $(filter-out $(UNIT),$(wildcard tests/unit/*.c)) $(wildcard bench/load/hist.c)
FUZZ_HELP := $(filter-out $(FUZZ),$(wildcard tests/fuzz/*.c))
# The programs of the benchmark, one folder each.
BENCH_ALL := $(patsubst bench/%/main.c,%,$(wildcard bench/*/main.c))

# ---- Flags ---------------------------------------------------------------------------------------

WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
	-Wcast-qual -Wformat=2 -Wvla -Wundef -Wswitch-enum
ALL_CFLAGS = -std=gnu17 -D_GNU_SOURCE -I. -pthread -g $(WARNINGS) $(CFLAGS)

LIBURING := build/deps/liburing/liburing.a
WOLFSSL  := build/deps/wolfssl/libwolfssl.a
LIBS     := $(LIBURING) $(WOLFSSL) -lyaml -lpthread

# Only these may include their library's headers, so only these can.
WOLFSSL_DEFINES := -D_GNU_SOURCE -DWOLFSSL_USER_SETTINGS -DWOLFSSL_USER_IO -DWOLFSSL_NO_SOCK
WOLFSSL_CFLAGS  := $(WOLFSSL_DEFINES) -isystem build/deps/wolfssl/include
LIBURING_CFLAGS := -isystem build/deps/liburing/include
cflags_of = $(if $(filter base/digest tls/% bench/load/secure,$(1)),$(WOLFSSL_CFLAGS)) \
	$(if $(filter lb/uring/% bench/floor/%,$(1)),$(LIBURING_CFLAGS))

FLAGS_release := -O2
FLAGS_debug   := -O1 -DLP_DEBUG -Werror
FLAGS_asan    := -O1 -DLP_DEBUG -Werror -fno-omit-frame-pointer -fsanitize=address,undefined \
	-fno-sanitize-recover=undefined
FLAGS_tsan    := -O1 -DLP_DEBUG -Werror -fno-omit-frame-pointer -fsanitize=thread
# clang, because libFuzzer is its own; the program under test reports coverage to the fuzzer.
CC_fuzz       := clang
NEEDS_fuzz    := test-packages
FLAGS_fuzz    := -O1 -DLP_DEBUG -Werror -fno-omit-frame-pointer \
	-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
# The hash must give the same answers however it was compiled.
FLAGS_O0      := -O0
FLAGS_fast    := -O3 -march=native -ffast-math
SRC_O0        := $(HASH_SRC)
SRC_fast      := $(HASH_SRC)
VARIANTS      := release debug asan tsan fuzz O0 fast

# ---- Programs ------------------------------------------------------------------------------------

.PHONY: all run install clean deps packages
.DELETE_ON_ERROR:

all: build/limpet

# The rules of one variant: objects, the archive of everything but main(), program and tests.
define variant
build/$(1)/%.o: %.c Makefile | packages $(NEEDS_$(1)) $(LIBURING) $(WOLFSSL)
	@mkdir -p $$(@D)
	@echo "  $(1) $$<"
	@$$(or $$(CC_$(1)),$$(CC)) $$(ALL_CFLAGS) $(FLAGS_$(1)) $$(call cflags_of,$$*) -MMD -MP -c -o $$@ $$<

# Its headers are the library's settings, which no dependency file names.
$(patsubst %.c,build/$(1)/%.o,base/digest.c bench/load/secure.c $(wildcard tls/*.c)): \
	$(WOLFSSL)

# The page is put into its object by the assembler, which writes no dependencies.
build/$(1)/lb/cli/demo_page.o: lb/cli/demo.html

build/$(1)/liblimpet.a: $(patsubst %.c,build/$(1)/%.o,$(or $(SRC_$(1)),$(LIB_SRC)))
	@rm -f $$@
	@$(AR) rcs $$@ $$^

build/$(1)/limpet: build/$(1)/lb/cli/main.o build/$(1)/liblimpet.a
	@echo "  $(1) limpet"
	@$$(CC) $$(ALL_CFLAGS) $(FLAGS_$(1)) $$(LDFLAGS) -o $$@ $$^ $$(LIBS)

build/$(1)/tests/unit/test_%: build/$(1)/tests/unit/test_%.o $(UNIT_HELP:%.c=build/$(1)/%.o) \
		build/$(1)/liblimpet.a
	@$$(CC) $$(ALL_CFLAGS) $(FLAGS_$(1)) $$(LDFLAGS) -o $$@ $$^ -lcmocka $$(LIBS)

build/$(1)/tests/fuzz/fuzz_%: build/$(1)/tests/fuzz/fuzz_%.o $(FUZZ_HELP:%.c=build/$(1)/%.o) \
		build/$(1)/liblimpet.a
	@$$(CC_fuzz) $$(ALL_CFLAGS) $(FLAGS_$(1)) -fsanitize=fuzzer $$(LDFLAGS) -o $$@ $$^ $$(LIBS)
endef

# One program of the benchmark.
define bench_program
build/$(1)/bench-$(2): $(patsubst %.c,build/$(1)/%.o,$(wildcard bench/$(2)/*.c)) build/$(1)/liblimpet.a
	@echo "  $(1) bench-$(2)"
	@$$(CC) $$(ALL_CFLAGS) $(FLAGS_$(1)) $$(LDFLAGS) -o $$@ $$^ $$(LIBS)
endef
$(foreach v,$(VARIANTS),$(eval $(call variant,$(v))) \
	$(foreach b,$(BENCH_ALL),$(eval $(call bench_program,$(v),$(b)))))
.SECONDARY:

build/limpet: build/release/limpet
	@cp $< $@

-include $(shell find build -path build/deps -prune -o -name '*.d' -print 2>/dev/null)

run: build/limpet
	@exec build/limpet demo

install: build/limpet
	install -D -m 755 build/limpet $(DESTDIR)$(PREFIX)/bin/limpet

# Downloaded archives and built libraries stay: rm -r build removes those, too.
clean:
	@find build -mindepth 1 -maxdepth 1 ! -name deps -exec rm -rf {} +

# ---- Dependencies --------------------------------------------------------------------------------

BUILD_PACKAGES := cc=gcc libc6-dev libyaml-dev libxxhash-dev ca-certificates dpkg-dev

deps: packages $(LIBURING) $(WOLFSSL)

packages:
	@./deps.sh packages $(BUILD_PACKAGES)

$(LIBURING): | packages
	@CC='$(CC)' LIBURING_DIR='$(LIBURING_DIR)' ./deps.sh liburing

$(WOLFSSL): deps.sh $(wildcard tls/wolfssl-build/*) | packages $(LIBURING)
	@CC='$(CC)' WOLFSSL_DIR='$(WOLFSSL_DIR)' WOLFSSL_DEFINES='$(WOLFSSL_DEFINES)' ./deps.sh wolfssl

# ---- Benchmark -----------------------------------------------------------------------------------

.PHONY: bench bench-tls bench-micro bench-report bench-packages report-packages

BENCH_PROGRAMS := $(BENCH_ALL:%=build/release/bench-%)
RESULTS        ?= $(lastword $(sort $(filter-out %-tls.tsv,$(wildcard bench/results/*.tsv))))
# Debian's own python3, because only that one sees Debian's packages.
PYTHON         := /usr/bin/python3

bench-packages: packages
	@./deps.sh packages $(PYTHON)=python3 openssl $(if $(HAPROXY),,haproxy) \
		$(if $(NGINX),,nginx=nginx-light)

bench: build/limpet $(BENCH_PROGRAMS) | bench-packages
	@exec $(PYTHON) bench/run.py $(if $(filter quick,$(BENCH)),--quick)

bench-tls: build/limpet $(BENCH_PROGRAMS) | bench-packages
	@exec $(PYTHON) bench/run.py --tls $(if $(filter quick,$(BENCH)),--quick)

bench-micro: build/release/bench-micro
	@exec $< $(if $(filter quick,$(BENCH)),--quick)

report-packages: packages
	@./deps.sh packages python3-matplotlib

bench-report: | report-packages
	@exec $(PYTHON) bench/report.py $(RESULTS) --out build/bench-report

# ---- Tests ---------------------------------------------------------------------------------------

.PHONY: test test-long test-unit test-e2e test-asan test-tsan test-fault test-bench test-wolfcrypt \
	test-stress test-processors test-draw fuzz lint format test-packages processor-packages

TEST_PACKAGES := libcmocka-dev ip=iproute2 clang libclang-rt-14-dev clang-tidy clang-format cppcheck \
	node=nodejs npm=npm openssl curl chromium certutil=libnss3-tools
NODE_MODULES  := tests/e2e/node_modules/.package-lock.json
UNIT_TSAN     := $(patsubst %.c,build/tsan/%,$(wildcard tests/unit/test_*_threads.c))
E2E           := $(wildcard tests/e2e/*.test.js)
E2E_TSAN      := $(wildcard tests/e2e/*.tsan.js)
E2E_FAULT     := $(wildcard tests/fault/*.test.js)
E2E_STRESS    := $(wildcard tests/e2e/stress*.test.js)
FUZZ_SECONDS  ?= 5
# A bound for what hangs: no machine is so busy that one file takes so long.
TEST_SECONDS  ?= 3600
# The sanitizers of Debian 12 cannot place their shadow memory with today's address randomisation.
NO_ASLR       := $(shell setarch -R true 2>/dev/null && echo setarch -R)

# each(COMMAND,FILES): runs the command with each file, bounded in time, whatever became of the others.
define each
	@bad=0; for file in $(2); do \
		echo "-- $$file"; timeout $(TEST_SECONDS) $(NO_ASLR) $(1) $$file; status=$$?; \
		[ $$status = 0 ] || bad=1; \
		[ $$status -lt 124 ] || echo "crashed: 0 passed, 1 failed ($$file, status $$status)"; \
	done; exit $$bad
endef
NODE_TEST     := node --test --test-reporter=spec

UNIT_PROGRAMS := $(UNIT:%.c=build/asan/%) \
	$(foreach v,O0 fast,$(patsubst %.c,build/$(v)/%,$(filter tests/unit/test_hash%,$(UNIT))))

test: test-packages
	@MAKE='$(MAKE)' tests/run lint test-unit fuzz test-asan test-tsan test-fault test-bench \
		test-wolfcrypt

# Longer turns of what `test` does in short ones, other processors, and what needs large packages.
test-long: export FUZZ_SECONDS := 120
test-long: export LIMPET_E2E_SECONDS := 120
test-long: test-packages
	@MAKE='$(MAKE)' tests/run fuzz test-tsan test-stress test-processors test-draw

test-packages: packages
	@./deps.sh packages $(TEST_PACKAGES)

$(NODE_MODULES): tests/e2e/package-lock.json | test-packages
	@cd tests/e2e && npm ci --ignore-scripts --no-audit --no-fund
	@touch $@

$(UNIT_PROGRAMS:%=%.o): | test-packages

test-unit: $(UNIT_PROGRAMS)
	$(call each,,$^)

fuzz: $(FUZZ:%.c=build/fuzz/%)
	@FUZZ_SECONDS=$(FUZZ_SECONDS) NO_ASLR='$(NO_ASLR)' tests/fuzz/run $^

test-e2e test-asan test-tsan test-fault test-stress: export LIMPET_BIN = $<

test-e2e: build/debug/limpet $(BENCH_ALL:%=build/debug/bench-%) $(NODE_MODULES)
	$(call each,$(NODE_TEST),$(E2E))

test-asan: build/asan/limpet $(BENCH_ALL:%=build/asan/bench-%) $(NODE_MODULES)
	$(call each,$(NODE_TEST),$(E2E))

test-tsan: build/tsan/limpet $(UNIT_TSAN) $(NODE_MODULES)
	$(call each,,$(UNIT_TSAN))
	$(call each,$(NODE_TEST),$(E2E_TSAN))

test-fault: build/asan/limpet $(NODE_MODULES)
	$(call each,$(NODE_TEST),$(E2E_FAULT))

# Ten times, each with a seed of its own.
test-stress: build/asan/limpet $(NODE_MODULES)
	$(call each,$(NODE_TEST),$(foreach _,1 2 3 4 5 6 7 8 9 10,$(E2E_STRESS)))

test-bench: build/limpet $(BENCH_PROGRAMS) | bench-packages
	@tests/bench/run

test-draw: | report-packages
	@tests/bench/draw

# The tests of the cryptography, the library's own and those of ours that use it, each with the means
# to run as on a lesser processor: because the library is made to believe so, and emulated.
WOLFCRYPT_SRC := build/deps/wolfssl/test
UNIT_TLS      := $(filter tests/unit/test_tls_session% tests/unit/test_tls_certificate%,$(UNIT))

processor-packages: packages
	@./deps.sh packages qemu-x86_64=qemu-user

build/wolfcrypt/cpu.o: tests/wolfcrypt/cpu.c $(WOLFSSL) Makefile
	@mkdir -p $(@D)
	@$(CC) $(ALL_CFLAGS) -O1 $(WOLFSSL_CFLAGS) -c -o $@ $<

# Keys and certificates for it come from a header, so that it reads no file.
build/wolfcrypt/wolfcrypt: build/wolfcrypt/cpu.o $(patsubst %.c,build/release/%.o,$(wildcard base/*.c)) \
		$(WOLFSSL)
	@echo "  wolfcrypt"
	@$(CC) -O1 -g1 -w -pthread $(WOLFSSL_CFLAGS) -I$(WOLFCRYPT_SRC) -DLP_WOLFCRYPT_TEST \
		-DUSE_CERT_BUFFERS_2048 -DUSE_CERT_BUFFERS_256 -DNO_WRITE_TEMP_FILES -o $@ $(WOLFCRYPT_SRC)/wolfcrypt/test/test.c \
		$^ -lm

$(UNIT_TLS:%.c=build/debug/%.o): | test-packages

build/wolfcrypt/test_tls%: build/debug/tests/unit/test_tls%.o build/wolfcrypt/cpu.o \
		$(UNIT_HELP:%.c=build/debug/%.o) build/debug/liblimpet.a
	@$(CC) $(ALL_CFLAGS) -o $@ $^ -lcmocka $(LIBS)

CRYPTO_TESTS := build/wolfcrypt/wolfcrypt $(UNIT_TLS:tests/unit/%.c=build/wolfcrypt/%)

test-wolfcrypt: $(CRYPTO_TESTS)
	@tests/wolfcrypt/run $(abspath $(WOLFSSL)) $^

test-processors: $(CRYPTO_TESTS) | processor-packages
	@CC='$(CC)' tests/wolfcrypt/emulated $^

# Globals are looked up in the release's objects, examples of the documents checked by its program.
lint: build/limpet | test-packages
	@CFLAGS_LINT='$(filter-out -g,$(ALL_CFLAGS)) $(WOLFSSL_CFLAGS) $(LIBURING_CFLAGS)' tests/tidy

format: | test-packages
	@git ls-files -co --exclude-standard '*.[ch]' | xargs clang-format -i
