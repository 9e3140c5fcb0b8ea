#!/bin/sh
# deps.sh: gets what limpet is built from, and is called by the Makefile only.
#
#   deps.sh packages NAME...   installs the Debian packages that are missing (COMMAND=NAME: unless
#                              that command is there already)
#   deps.sh liburing           gives build/deps/liburing/{include,liburing.a}
#   deps.sh wolfssl            gives build/deps/wolfssl/{include,libwolfssl.a}, and under test/ the
#                              library's own test program, as source
#
# Sources come through apt with a configuration of its own under build/deps, so the system's stays
# untouched; the mirror is the one the system uses. Archives are kept: a rebuild downloads nothing.
set -eu

deps=$PWD/build/deps
here=$PWD/tls/wolfssl-build
CC=${CC:-cc}

liburing_sha256=57e9b36e4ac1e46b8e0351dfb1694dc59638fc25e384b4ba36d87b800b16db1a
wolfssl_sha256=2f4ef3d4fd387a9b3191d36a6316d69116c46ff69bb9583b6c82b36d7b8ca114
wolfssl_pinned=5.9.2
wolfssl_inserted=16
wolfssl_edited=26

say() { echo "deps: $*"; }
die() { echo "deps: $*" >&2; exit 1; }

# ---- Debian packages ---------------------------------------------------------------------------

has_package() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

packages() {
    missing=
    for want; do
        case $want in
        *=*) command -v "${want%%=*}" >/dev/null 2>&1 || missing="$missing ${want#*=}" ;;
        *) has_package "$want" || missing="$missing $want" ;;
        esac
    done
    [ -n "$missing" ] || return 0
    command -v apt-get >/dev/null 2>&1 || die "no apt-get here: please install what Debian calls$missing"
    [ "$(id -u)" = 0 ] || die "missing packages; as root: apt-get install --no-install-recommends$missing"
    say "installing$missing"
    export DEBIAN_FRONTEND=noninteractive
    # A server that is installed to be measured or tested with must not start on this machine.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        trap 'rm -f $policy' EXIT
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod 755 $policy
    fi
    apt-get -q update
    # shellcheck disable=SC2086 # a list of words
    apt-get -q install -y --no-install-recommends $missing
}

# ---- source archives through apt ---------------------------------------------------------------

# apt_open SUITE...: an apt of our own that knows the sources of these suites, and nothing else.
apt_open() {
    apt=$deps/apt
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$deps/archives"
    # The first target is the main archive: security updates live under an address of their own.
    target=$(apt-get indextargets --format '$(REPO_URI) $(SIGNED_BY)' 'Created-By: Packages' |
        grep -v -e '-security' | head -n 1)
    uri=${target%% *}
    key=${target#* }
    [ -n "$uri" ] || die "apt knows no Debian archive to take sources from"
    [ -f "$key" ] || key=/usr/share/keyrings/debian-archive-keyring.gpg
    for suite; do
        echo "deb-src [signed-by=$key] $uri $suite main"
    done >"$apt/sources.list"
    # Root's apt would fetch as user _apt, who may not be able to write here.
    cat >"$apt/apt.conf" <<-END
	Dir::Etc::sourcelist "$apt/sources.list";
	Dir::Etc::sourceparts "/dev/null";
	Dir::State::Lists "$apt/lists";
	Dir::Cache "$apt/cache";
	APT::Sandbox::User "root";
	END
    say "asking the archive for the sources of Debian's $*"
    apt-get -q -c "$apt/apt.conf" update >"$apt/log" 2>&1 || die "apt-get update failed, see $apt/log"
}

# source_versions PACKAGE: every version offered, newest first.
source_versions() {
    apt-cache -c "$apt/apt.conf" showsrc "$1" | sed -n 's/^Version: //p' | sort -Vru
}

# source_fetch PACKAGE[=VERSION]: into archives/; true when all files came and apt verified them.
# The archive itself may still be there when the packaging around it is gone, so the log is silent.
source_fetch() {
    say "fetching the source of $1"
    (cd "$deps/archives" && apt-get -q -c "$apt/apt.conf" source --download-only "$1") >>"$apt/log" 2>&1
}

is_pinned() { [ -f "$1" ] && echo "$2  $1" | sha256sum --check --status; }

unpack() {
    rm -rf "$2"
    mkdir -p "$2"
    tar -xf "$1" -C "$2" --strip-components=1
}

# ---- liburing: LIBURING_DIR= (a source tree), pkg-config >= 2.6, Debian 13's 2.9 ---------------

liburing() {
    out=$deps/liburing
    rm -rf "$out"
    mkdir -p "$out"
    if [ -n "${LIBURING_DIR:-}" ]; then
        say "liburing: the source tree $LIBURING_DIR"
        cp -R "$LIBURING_DIR" "$out/src"
    elif library=$(pkg-config --atleast-version=2.6 liburing 2>/dev/null &&
        echo "$(pkg-config --variable=libdir liburing)/liburing.a") && [ -f "$library" ]; then
        say "liburing: the system's $(pkg-config --modversion liburing)"
        ln -s "$(pkg-config --variable=includedir liburing)" "$out/include"
        ln -s "$library" "$out/liburing.a"
        return
    else
        archive=$deps/archives/liburing_2.9.orig.tar.gz
        if ! is_pinned "$archive" $liburing_sha256; then
            apt_open trixie
            source_fetch liburing || say "not all of it came; the checksum decides"
        fi
        is_pinned "$archive" $liburing_sha256 || die "liburing 2.9 did not come from Debian's" \
            "trixie, see $apt/log; give a source tree with LIBURING_DIR="
        say "liburing: 2.9 of Debian 13"
        unpack "$archive" "$out/src"
    fi
    (cd "$out/src" && ./configure --cc="$CC" && make -C src ENABLE_SHARED=0) >"$out/log" 2>&1 ||
        { tail -n 20 "$out/log" >&2; die "liburing does not compile, see $out/log"; }
    cp -R "$out/src/src/include" "$out/include"
    mv "$out/src/src/liburing.a" "$out/liburing.a"
    rm -rf "$out/src"
}

# ---- wolfSSL: WOLFSSL_DIR= (a source tree), the pinned 5.9.2, a newer one of Debian ------------

wolfssl() {
    [ "$(uname -m)" = x86_64 ] || die "wolfSSL is built with its x86-64 assembly here;" \
        "other processors are not supported yet"
    # Whole or not at all, and one at a time: whoever compiles meanwhile still finds the old one.
    exec 9>"$deps/wolfssl.lock"
    flock 9
    out=$deps/wolfssl.new
    rm -rf "$out"
    mkdir -p "$out/patched" "$out/obj"
    if [ -n "${WOLFSSL_DIR:-}" ]; then
        say "wolfSSL: the source tree $WOLFSSL_DIR"
        archive=
        tree=$(cd "$WOLFSSL_DIR" && pwd)
    else
        wolfssl_archive
        tree=$out/src
        unpack "$archive" "$tree"
    fi
    mkdir -p "$out/include"
    cp -R "$tree/wolfssl" "$out/include/"
    mkdir -p "$out/test/wolfcrypt/src"
    cp -R "$tree/wolfcrypt/test" "$out/test/wolfcrypt/"
    cp "$tree/wolfcrypt/src/misc.c" "$out/test/wolfcrypt/src/"
    cp "$here/user_settings.h" "$here/lp_rand.h" "$out/include/"
    wolfssl_patch
    wolfssl_compile
    rm -rf "$out/src" "$out/patched" "$out/obj" "$deps/wolfssl"
    mv "$out" "$deps/wolfssl"
}

# Sets archive to the best there is: the pinned one, else the newest one that apt verified.
wolfssl_archive() {
    archive=$deps/archives/wolfssl_$wolfssl_pinned.orig.tar.gz
    if ! is_pinned "$archive" $wolfssl_sha256; then
        apt_open sid testing
        versions=$(source_versions wolfssl)
        for version in $(echo "$versions" | grep "^$wolfssl_pinned-"); do
            source_fetch "wolfssl=$version" || say "not all of it came; the checksum decides"
            ! is_pinned "$archive" $wolfssl_sha256 || break
        done
    fi
    if is_pinned "$archive" $wolfssl_sha256; then
        say "wolfSSL: $wolfssl_pinned, the pinned archive"
        return
    fi
    for version in $versions; do
        dpkg --compare-versions "$version" ge "$wolfssl_pinned" || break
        source_fetch "wolfssl=$version" || continue
        upstream=${version%-*}
        archive=$deps/archives/wolfssl_${upstream#*:}.orig.tar.gz
        [ -f "$archive" ] || continue
        say "wolfSSL: $version, verified by apt; $wolfssl_pinned is gone"
        return
    done
    die "wolfSSL: neither the pinned $wolfssl_pinned nor a newer one came from Debian's unstable or" \
        "testing, see $apt/log; give a source tree of wolfSSL >= $wolfssl_pinned with WOLFSSL_DIR="
}

# The library with our changes, in patched/; only the pinned version has a known number of places for
# them. P-256 and Poly1305 leave the upper halves of the YMM registers dirty, which makes the SSE
# code that runs next several times slower: vzeroupper.awk. What changes in C, and why: edits.
wolfssl_patch() {
    inserted=0
    edited=0
    for file in $(grep '\.S$' "$here/sources.txt"); do
        count=$(awk -f "$here/vzeroupper.awk" "$tree/$file" 2>&1 >"$out/patched/${file##*/}")
        inserted=$((inserted + ${count%% *}))
    done
    for file in $(grep '^[a-z].*\.c$' "$here/edits" | sort -u); do
        awk -v file="$file" -f "$here/edit.awk" "$here/edits" "$tree/$file" \
            2>"$out/count" >"$out/patched/${file##*/}"
        sed -n '$!s/^/deps: wolfSSL: warning: this edit fits /p' "$out/count"
        edited=$((edited + $(tail -n 1 "$out/count")))
    done
    rm "$out/count"
    [ $inserted = $wolfssl_inserted ] ||
        say "wolfSSL: warning: vzeroupper inserted at $inserted places, $wolfssl_inserted expected"
    [ $edited = $wolfssl_edited ] ||
        say "wolfSSL: warning: $edited edits applied, $wolfssl_edited expected"
    if [ $inserted/$edited != $wolfssl_inserted/$wolfssl_edited ] &&
        [ "${archive##*/}" = wolfssl_$wolfssl_pinned.orig.tar.gz ]; then
        die "wolfSSL: the patches do not fit the pinned version"
    fi
}

wolfssl_compile() {
    say "wolfSSL: compiling $(grep -c . "$here/sources.txt") files"
    # The flags that limpet uses, too, come from the Makefile.
    compile="$CC -O3 -g1 -fPIC -fvisibility=hidden -pthread $WOLFSSL_DEFINES
        -I$out/include -I$tree"
    # shellcheck disable=SC2086 # a command line
    while read -r file; do
        name=${file##*/}
        source=$tree/$file
        [ ! -f "$out/patched/$name" ] || source=$out/patched/$name
        case $file in
        # The one file with instructions that not every x86-64 has; it asks the processor first.
        */aes.c) echo "-maes -o $out/obj/$name.o -c $source" ;;
        *) echo "-o $out/obj/$name.o -c $source" ;;
        esac
    done <"$here/sources.txt" | xargs -P "$(nproc)" -L 1 $compile
    ar rcs "$out/libwolfssl.a" "$out"/obj/*.o
}

command=$1
shift
case $command in
packages | liburing | wolfssl) "$command" "$@" ;;
*) die "unknown: $command" ;;
esac
