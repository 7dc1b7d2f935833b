#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# xattr-walk.sh DIR: does what people do with extended attributes, access lists, setuid bits, capabilities and
# groups in the empty directory DIR, and prints what comes of it. On any file system that has them all the
# same must be printed, so the tests compare a share with a local one. Run by root.

cd "$1" || exit 1
export LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin

# As an ordinary user, and as one who also belongs to the group 4321.
as_user()
{
    setpriv --reuid=1 --regid=1 --clear-groups --inh-caps=-all "$@"
}

as_member()
{
    setpriv --reuid=1 --regid=1 --groups=4321 --inh-caps=-all "$@"
}

# do_it COMMAND...: prints it, what it says, and whether it worked.
do_it()
{
    echo "+ $*"
    "$@" 2>&1
    echo "= $?"
}

show_mode()
{
    stat -c '%n %a %u:%g %F' "$@"
}

show_attributes()
{
    for name; do
        echo "# $name"
        # Access lists have a section of their own, and the order is the file system's own affair.
        getfattr -h -d -m - -e hex "$name" 2>&1 | grep -v -e '^#' -e '^system\.' -e '^$' | sort
    done
}

set_long()
{
    setfattr -n user.long -v "$(printf '%01500d' 7)" "$1"
}

walk_attributes()
{
    echo "== attributes"
    mkdir attributes && cd attributes || exit 1
    echo data >file
    mkdir directory
    ln -s file symlink
    ln -s nowhere dangling
    mkfifo fifo
    mknod device c 1 3
    for name in file directory; do
        do_it setfattr -n user.text -v hello "$name"
        do_it setfattr -n user.empty "$name"
        do_it setfattr -n user.binary -v 0x00ff00 "$name"
    done
    for name in file directory symlink dangling fifo device; do
        do_it setfattr -h -n trusted.mark -v "$name" "$name"
    done
    do_it setfattr -h -n user.text -v no symlink
    do_it setfattr -n user.text -v no fifo
    do_it set_long file
    do_it getfattr -n user.missing file
    do_it getfattr -n user.text symlink
    do_it setfattr -x user.missing file
    getfattr -n user.long file | md5sum
    do_it setfattr -x user.long file
    show_attributes file directory symlink dangling fifo device
    echo "# for a user"
    as_user getfattr -d -m - file 2>&1 | grep -v -e '^$' | sort
    do_it as_user setfattr -n user.text -v no file
    do_it as_user setfattr -n trusted.mark -v no file
    mv file moved
    ln moved link
    cp --preserve=xattr moved copy
    show_attributes link copy
    cd ..
}

walk_acls()
{
    echo "== access lists"
    mkdir acls && cd acls || exit 1
    echo data >file
    do_it setfacl -m u:1234:rwx,g:4321:r-- file
    do_it getfacl -n file
    chmod g-w file
    do_it getfacl -n file
    show_mode file
    do_it setfacl -x u:1234 file
    do_it setfacl -b file
    do_it getfacl -n file
    chmod 600 file
    do_it as_user cat file
    do_it setfacl -m u:1:r file
    do_it as_user cat file
    do_it as_user sh -c 'echo no >>file'
    do_it setfacl -m u:1:---,g:1:rw file
    do_it as_user cat file
    do_it as_user setfacl -m u:1:rwx file
    do_it setfacl -d -m u:1:rwx file
    cp --preserve=mode file copy
    do_it getfacl -n copy
    cd ..
}

fill_directory()
{
    (
        umask "$2"
        echo data >"$1/file"
        mkdir -p "$1/directory/below"
        mkfifo "$1/fifo"
        ln -s file "$1/symlink"
        : >"$1/directory/below/file"
        chmod u+x "$1/directory/below/file"
    )
    find "$1" | sort | xargs getfacl -P -n 2>&1
    find "$1" | sort | xargs stat -c '%n %a %F'
}

walk_default_acls()
{
    echo "== default lists"
    mkdir defaults && cd defaults || exit 1
    for mask in 000 022 027 077; do
        mkdir plain$mask minimal$mask full$mask narrow$mask
        setfacl -d -m u::rwx,g::rx,o::- minimal$mask
        setfacl -d -m u:1234:rwx,g:4321:rx,m::rwx,o::r full$mask
        setfacl -d -m u:1234:rwx,g::-,m::x,o::- narrow$mask
        for kind in plain minimal full narrow; do
            fill_directory $kind$mask $mask
        done
    done
    do_it setfacl -k full022
    do_it getfacl -n full022
    cd ..
}

# A setuid and setgid file of root that everybody may write, after COMMAND.
after()
{
    rm -f program
    echo program >program
    chmod 6777 program
    "$@" 2>&1
    echo "$* -> $(stat -c %a program)"
}

walk_setuid()
{
    echo "== setuid"
    mkdir -m 777 setuid && cd setuid || exit 1
    after sh -c 'echo more >>program'
    after as_user sh -c 'echo more >>program'
    after as_user dd if=/dev/zero of=program bs=1 count=1 conv=notrunc status=none
    after as_user sh -c ': >program'
    after as_user truncate -s 1 program
    after as_user truncate -s 100000 program
    after as_user fallocate -l 100000 program
    after as_user cp /etc/hostname program
    after chown 1 program
    after chgrp 4321 program
    after chown 0 program
    after as_user cat program
    after as_user touch program
    after truncate -s 1 program
    rm program
    # Set by somebody who is not of the file's group.
    echo data >file
    chown 1:4321 file
    chmod 2775 file
    do_it as_user setfacl -m u:2:r file
    show_mode file
    chmod 2775 file
    do_it as_member setfacl -m u:2:r file
    show_mode file
    do_it as_user chmod 2775 file
    show_mode file
    cd ..
}

capable()
{
    rm -f program
    echo program >program
    chmod 777 program
    setcap cap_net_raw,cap_chown+ep program
    "$@" 2>&1
    echo "$* -> $(getcap program)"
}

walk_capabilities()
{
    echo "== capabilities"
    mkdir -m 777 capabilities && cd capabilities || exit 1
    capable true
    capable cat program
    capable chmod 700 program
    capable touch program
    capable sh -c 'mv program other && mv other program'
    capable sh -c 'echo more >>program'
    capable as_user sh -c 'echo more >>program'
    capable dd if=/dev/zero of=program bs=4096 count=1 conv=notrunc status=none
    capable sh -c ': >program'
    capable truncate -s 1 program
    capable fallocate -l 100000 program
    capable chown 1 program
    capable chgrp 4321 program
    capable setcap -r program
    capable as_user setcap cap_sys_admin+ep program
    do_it getfattr -n security.capability -e hex program
    cd ..
}

create_setgid()
{
    "$@" python3 -c 'import os; os.umask(0); os.close(os.open("new", os.O_CREAT | os.O_WRONLY, 0o2770))' 2>&1
    show_mode new
    rm -f new
}

walk_groups()
{
    echo "== groups"
    mkdir groups && cd groups || exit 1
    mkdir -m 2770 team
    chgrp 4321 team
    chmod 2777 team
    cd team || exit 1
    create_setgid true
    create_setgid as_user
    create_setgid as_member
    cd ..
    chmod 2770 team
    do_it as_user touch team/file
    for command in 'touch file' 'mkdir directory' 'mkfifo fifo' 'ln -s file symlink' 'ln file link'; do
        do_it as_member sh -c "cd team && $command"
    done
    (cd team && show_mode ./*)
    chmod 770 team
    do_it as_member touch team/own
    show_mode team/own
    cd ..
}

walk_attributes
walk_acls
walk_default_acls
walk_setuid
walk_capabilities
walk_groups
