# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Several disks for one guest, a vblkd ($VBLKD) each, known by name: their images, daemons started, killed and
# stopped, and what the host finds in the images afterwards. Used together with daemon.sh.
# shellcheck disable=SC2154

disk_names=()
declare -A disk_pids disk_formats disk_options disk_sources

# Programs that the checks inside take, and those of the host's side.
disks_require()
{
    local tool
    PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
    for tool in mkfs.ext4 debugfs mkswap fstrim blkdiscard qemu-img "$@"; do
        command -v "$tool" >/dev/null || test_skip "$tool is missing"
    done
    [ -n "${VBLKD:-}" ] || test_fail "VBLKD does not name the vblkd to test"
}

disk_image()
{
    echo "$test_work/$1.image"
}

disk_socket()
{
    echo "$test_work/$1.socket"
}

# disks_make SIZE: makes and starts the disks of the table on standard input, a line each:
#   NAME | raw or qcow2[,OPTION=VALUE]... (of qemu-img) | options of vblkd
disks_make()
{
    local size=$1 name format options creation
    while IFS='|' read -r name format options; do
        name=${name// /} format=${format// /}
        [ -n "$name" ] || continue
        creation=()
        [ "$format" = "${format#*,}" ] || creation=(-o "${format#*,}")
        disk_formats[$name]=${format%%,*}
        disk_options[$name]=$options
        disk_names+=("$name")
        qemu-img create -q -f "${format%%,*}" ${creation[@]+"${creation[@]}"} "$(disk_image "$name")" "$size" ||
            test_fail "no image for $name"
        disk_sources[$name]=$(disk_image "$name")
        disk_start "$name"
        disk_wait "$name"
    done
}

# disks_make_loop NAME SIZE [OPTION]...: a raw image as a loop device with blocks of 4 KiB, which goes with its daemon.
# 1 where there is none to be had.
disks_make_loop()
{
    local name=$1
    truncate -s "$2" "$(disk_image "$name")"
    disk_sources[$name]=$(losetup --find --show --sector-size 4096 "$(disk_image "$name")" 2>/dev/null) || return 1
    disk_formats[$name]=raw
    disk_options[$name]="${*:3}"
    disk_names+=("$name")
    disk_start "$name"
    disk_wait "$name"
    # In use, so that it happens when that ends.
    losetup --detach "${disk_sources[$name]}"
}

# disk_start NAME [OPTION]...: without waiting for it.
disk_start()
{
    # shellcheck disable=SC2086 # a list of options
    "$VBLKD" --socket-path="$(disk_socket "$1")" --blk-file="${disk_sources[$1]}" --serial="$1" \
        --format="${disk_formats[$1]}" ${disk_options[$1]} "${@:2}" >>"$test_work/daemon.log" 2>&1 &
    disk_pids[$1]=$!
    test_children+=($!)
}

# disk_wait NAME: until its socket is there.
disk_wait()
{
    local polls=0
    until socket_listens "$(disk_socket "$1")"; do
        kill -0 "${disk_pids[$1]}" 2>/dev/null || test_fail "the daemon of $1 ended at start"
        polls=$((polls + 1))
        [ $polls -lt 100 ] || test_fail "no socket of $1 after 10 s"
        sleep 0.1
    done
}

# disk_kill NAME: by SIGKILL, the process that was started; what is in its sandbox dies with it.
disk_kill()
{
    kill -KILL "${disk_pids[$1]}" || test_fail "the daemon of $1 had ended"
    wait "${disk_pids[$1]}" 2>/dev/null
}

# SIGTERM ends the daemon, with status 0.
disk_stop()
{
    kill -TERM "${disk_pids[$1]}" || test_fail "the daemon of $1 had ended"
    wait "${disk_pids[$1]}" || test_fail "the daemon of $1 ended with status $? at SIGTERM"
}

disks_stop()
{
    local name
    for name in "${disk_names[@]}"; do
        disk_stop "$name"
    done
}

# disk_check NAME [STATUS]: its image is whole. STATUS 3: space may be lost in it.
disk_check()
{
    local status
    [ "${disk_formats[$1]}" != raw ] || return 0
    qemu-img check -f "${disk_formats[$1]}" "$(disk_image "$1")" >"$test_work/check" 2>&1
    status=$?
    [ $status -eq 0 ] || [ $status -eq "${2:-0}" ] || test_fail "$1: qemu-img check: $(tail -n 20 "$test_work/check")"
}

# disk_check_files NAME MIB: what inside/disk-checks left is there in its second partition, and the image takes less
# than MIB.
disk_check_files()
{
    local name=$1 used offset=$((129 << 20))
    local raw=$test_work/$name.raw files=$test_work/$name.files
    used=$(du -m "$(disk_image "$name")" | cut -f 1)
    disk_check "$name"
    qemu-img convert -f "${disk_formats[$name]}" -O raw "$(disk_image "$name")" "$raw" ||
        test_fail "$name: qemu-img convert"
    e2fsck -f -n "$raw?offset=$offset" >"$test_work/fsck" 2>&1 ||
        test_fail "$name: fsck on the host: $(cat "$test_work/fsck")"
    mkdir "$files"
    debugfs -R "rdump / $files" "$raw?offset=$offset" 2>/dev/null
    (cd "$files" && sha256sum --quiet -c sums) || test_fail "$name: contents differ on the host"
    rm -rf "$raw" "$files"
    echo "host: $name has the guest's files, in $used MiB"
    [ "$used" -lt "$2" ] || test_fail "$name: $used MiB are used, though what was removed was trimmed"
}
