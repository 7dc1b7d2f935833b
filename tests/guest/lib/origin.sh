# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# A repository for git to clone: a program of many small C files that include headers, with a Makefile and a
# build.ninja, and more files beside it; several branches, packed.

export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
export GIT_AUTHOR_NAME=test GIT_AUTHOR_EMAIL=test@localhost
export GIT_COMMITTER_NAME=test GIT_COMMITTER_EMAIL=test@localhost

origin_units=16

# What compiles: unitN.c includes unitN.h and common.h, and main.c calls them all.
origin_write_program()
{
    local dir=$1 i
    mkdir -p "$dir/src" "$dir/include"
    echo '#define COMMON 1' >"$dir/include/common.h"
    for i in $(seq $origin_units); do
        echo "int unit$i(int n);" >"$dir/include/unit$i.h"
        cat >"$dir/src/unit$i.c" <<UNIT
#include "unit$i.h"
#include "common.h"
int unit$i(int n) { return n + COMMON; }
UNIT
    done
    {
        seq -f '#include "unit%g.h"' $origin_units
        echo 'int main(void) { int n = 0;'
        seq -f 'n = unit%g(n);' $origin_units
        echo 'return n - '$origin_units'; }'
    } >"$dir/src/main.c"
}

origin_write_recipes()
{
    cat >"$1/Makefile" <<'MAKE'
objects := $(patsubst src/%.c,obj/%.o,$(wildcard src/*.c))
program: $(objects)
	gcc -o $@ $^
obj/%.o: src/%.c | obj
	gcc -O0 -Iinclude -MMD -c -o $@ $<
obj:
	mkdir obj
-include $(objects:.o=.d)
MAKE
    {
        cat <<'NINJA'
rule cc
  command = gcc -O0 -Iinclude -MMD -MF $out.d -c -o $out $in
  depfile = $out.d
  deps = gcc
rule ld
  command = gcc -o $out $in
NINJA
        for i in main $(seq -f 'unit%g' $origin_units); do
            echo "build out/$i.o: cc src/$i.c"
        done
        echo "build out/program: ld out/main.o $(seq -s ' ' -f 'out/unit%g.o' $origin_units)"
    } >"$1/build.ninja"
    printf '%s\n' /obj/ /out/ /program /.ninja_log /.ninja_deps >"$1/.gitignore"
}

# Two thousand files in a hundred directories, of bytes that do not compress, and links.
origin_write_files()
{
    local dir=$1 i folder
    for i in $(seq 100); do
        folder=$dir/files/d$((i % 10))/e$i
        mkdir -p "$folder"
        head -c $((i * 700)) /dev/urandom | split -b $((i * 37)) -a 2 - "$folder/piece-"
        ln -s "../../d0/e10/piece-aa" "$folder/link"
    done
}

# origin_make DIR: a bare repository there, of some forty commits, packed, on the branches main and other.
origin_make()
{
    local work=$1.work i
    git init -q -b main "$work"
    origin_write_program "$work"
    origin_write_recipes "$work"
    origin_write_files "$work"
    git -C "$work" add .
    git -C "$work" commit -q -m "first"
    git -C "$work" branch other
    for i in $(seq 20); do
        git -C "$work" mv "files/d$((i % 10))/e$((i + 20))" "files/moved$i"
        echo "$i" >>"$work/files/changed"
        git -C "$work" add .
        git -C "$work" commit -q -m "change $i"
    done
    git clone -q --bare "$work" "$1"
    rm -rf "$work"
    git -C "$1" gc -q
}
