# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Changes as the steps of an image build make them, one layer each. layers_fill makes the tree that they start from;
# every step works in any folder, so that a plain one tells what the layers together have to look like.

layers_fill()
{
    local dir=$1 i
    mkdir -p "$dir"/{etc,bin,lib/a/b/c,lib/old,cache/deep,many,become-file}
    for i in $(seq 60); do
        echo "$i" >"$dir/many/file$i"
    done
    head -c 6M /dev/urandom >"$dir/lib/large"
    head -c 3M /dev/urandom >"$dir/lib/owned"
    truncate -s 12M "$dir/lib/sparse"
    printf 'middle' | dd of="$dir/lib/sparse" bs=1M seek=5 conv=notrunc 2>/dev/null
    echo one >"$dir/etc/one"
    echo two >"$dir/etc/two"
    echo become >"$dir/become-dir"
    ln -s one "$dir/etc/symlink"
    cp /bin/true "$dir/bin/true"
    ln "$dir/bin/true" "$dir/bin/linked"
    ln "$dir/bin/true" "$dir/lib/linked"
    chmod 4755 "$dir/bin/true"
    echo cached >"$dir/cache/deep/file"
    echo below >"$dir/lib/a/b/c/file"
    echo old >"$dir/lib/old/file"
    setfattr -n user.mark -v base "$dir/etc/one"
    setfattr -n user.mark -v base "$dir/lib/a"
}

# Removals, replacements by another kind, moves, changes of what is below and of its attributes alone.
layers_step1()
{
    local dir=$1
    echo more >>"$dir/lib/large"
    chown 12:34 "$dir/lib/owned"
    echo changed >>"$dir/etc/one"
    rm "$dir/etc/two"
    rm -r "$dir/cache" && mkdir "$dir/cache" && echo fresh >"$dir/cache/fresh"
    mv "$dir/lib/a" "$dir/moved"
    rm "$dir/become-dir" && mkdir "$dir/become-dir" && echo in >"$dir/become-dir/in"
    rmdir "$dir/become-file" && echo now >"$dir/become-file"
    ln -sfn two "$dir/etc/symlink"
    rm "$dir"/many/file1*
    mv "$dir/many/file20" "$dir/many/file21"
    echo x | dd of="$dir/lib/sparse" bs=1 seek=9000000 conv=notrunc 2>/dev/null
    setcap cap_net_raw+ep "$dir/bin/linked"
    mknod "$dir/null" c 1 3
    mkfifo "$dir/fifo"
}

# Again, on what the first step left: things come back, data follows attributes, a moved directory moves on.
layers_step2()
{
    local dir=$1
    echo back >"$dir/etc/two"
    chmod 600 "$dir/lib/owned" && echo data >>"$dir/lib/owned"
    mv "$dir/moved/b" "$dir/etc/b" && mv "$dir/moved" "$dir/lib/moved"
    echo again >>"$dir/etc/b/c/file"
    rm -r "$dir/become-dir" "$dir/cache"
    mkdir -p "$dir/cache/deep" && echo third >"$dir/cache/deep/third"
    ln "$dir/etc/one" "$dir/etc/hard" && echo both >>"$dir/etc/hard"
    truncate -s 1000 "$dir/lib/large"
    setfattr -n user.mark -v second "$dir/lib/moved"
    setfattr -x user.mark "$dir/etc/one"
    python3 - "$dir/etc/two" <<'MMAP'
import mmap, sys
with open(sys.argv[1], "r+b") as file, mmap.mmap(file.fileno(), 0) as data:
    data[0:4] = b"BACK"
MMAP
    (cd "$dir" && tar -cf - lib bin) | (mkdir "$dir/copy" && tar -C "$dir/copy" -xpf -)
}

# And what is left of a build when it is cleaned up.
layers_step3()
{
    local dir=$1
    rm -r "$dir/copy/lib" "$dir/lib/moved" "$dir/cache"
    mkdir "$dir/cache" && echo only >"$dir/cache/only"
    rm "$dir"/many/file4*
    mv "$dir/etc/b" "$dir/lib/moved"
    rm "$dir/etc/hard" "$dir/fifo" "$dir/null"
    chmod 700 "$dir/bin"
}
