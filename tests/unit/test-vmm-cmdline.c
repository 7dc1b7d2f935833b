/* SPDX-License-Identifier: Apache-2.0 */
/* vmm's command line: what QEMU's users write runs, and what contradicts itself is told by name. */
#include <glib.h>
#include <string.h>

#include "vmm/cmdline.h"

static enum vmm_cmdline_result parse(struct vmm_config *config, const char *line, GError **error)
{
    g_auto(GStrv) argv = NULL;
    int argc;
    g_autofree char *whole = g_strconcat("vmm ", line, NULL);

    g_assert_true(g_shell_parse_argv(whole, &argc, &argv, NULL));
    vmm_config_init(config);
    return vmm_cmdline_parse(config, argc, argv, error);
}

static void parse_good(struct vmm_config *config, const char *line)
{
    g_autoptr(GError) error = NULL;
    enum vmm_cmdline_result result = parse(config, line, &error);

    g_assert_no_error(error);
    g_assert_cmpint(result, ==, VMM_CMDLINE_RUN);
}

static void test_users_line(void)
{
    struct vmm_config config;
    const struct vmm_device_config *device;

    parse_good(&config, "-m 4G -kernel /boot/vmlinuz"
                        " -chardev socket,id=char0,path=/var/run/vm001-vhost-fs.sock"
                        " -device vhost-user-fs-pci,chardev=char0,tag=myfs"
                        " -object memory-backend-memfd,id=mem,size=4G,share=on"
                        " -numa node,memdev=mem");
    g_assert_cmpuint(config.memory_size, ==, UINT64_C(4) << 30);
    g_assert_cmpuint(config.n_nodes, ==, 1);
    g_assert_cmpstr(config.nodes[0].memdev, ==, "mem");
    g_assert_cmpuint(config.devices->len, ==, 1);
    device = g_ptr_array_index(config.devices, 0);
    g_assert_cmpint(device->kind, ==, VMM_DEVICE_FS);
    g_assert_cmpstr(device->tag, ==, "myfs");
    g_assert_cmpstr(vmm_config_find_chardev(&config, "char0")->path, ==,
                    "/var/run/vm001-vhost-fs.sock");
    vmm_config_clear(&config);
}

/* Lines with what scripts say beside, in either spelling of a dash. */
static void test_habits(void)
{
    static const char *const lines[] = {
        "-M q35,accel=kvm,memory-backend=m -enable-kvm -nodefaults -no-user-config -display none"
        " -m 256 -object memory-backend-memfd,id=m,size=256M -kernel k -nographic -vga none",
        "--kernel k --initrd i --append 'console=ttyS0 a=b,c' --cpu host,-avx512f,pmu=off",
        "-kernel k -name guest=foo,debug-threads=on -machine type=microvm,acpi=on -accel kvm",
        "-kernel k -serial unix:/tmp/x,server=on,wait=off -qmp unix:/tmp/q,server,nowait -S"
        " -daemonize -pidfile p -no-reboot",
        "-kernel k -m size=1G,slots=2,maxmem=1G -smp 4,sockets=2,cores=1,threads=2,maxcpus=4",
        "-kernel k --vcpu-affinity=0:1,1:0 -smp 2 -cpu host,migratable=no,+invtsc",
        "-kernel k -daemonize -name guest=foo,process=bar",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(lines); i++) {
        struct vmm_config config;

        parse_good(&config, lines[i]);
        vmm_config_clear(&config);
    }
}

static void test_values(void)
{
    struct vmm_config config;
    const struct vmm_memdev *memdev;

    parse_good(&config,
               "-kernel k -name foo,process=bar -append 'x,,y' -smp 8,sockets=2,threads=2 -cpu "
               "host,-avx,aes=off"
               " -serial file:/tmp/log,1 -device vhost-user-blk-pci,chardev=c,num-queues=4,"
               "queue-size=256,packed=on,addr=1f.0,id=disk"
               " -chardev socket,id=c,path=/a,,b,reconnect=2"
               " -object memory-backend-memfd,id=m,size=1.5G,hugetlb=on,hugetlbsize=2M,"
               "prealloc=on,prealloc-threads=2,host-nodes=0-1,host-nodes=3,policy=bind"
               " -numa node,memdev=m,cpus=0-7");
    g_assert_cmpstr(config.append, ==, "x,,y");
    g_assert_cmpuint(config.smp.cores, ==, 2);
    g_assert_cmpuint(config.smp.max_cpus, ==, 8);
    g_assert_cmpstr(g_ptr_array_index(config.cpu_features, 0), ==, "-avx");
    g_assert_cmpstr(g_ptr_array_index(config.cpu_features, 1), ==, "-aes");
    g_assert_cmpstr(config.serial.path, ==, "/tmp/log,1");
    g_assert_cmpstr(config.name, ==, "foo");
    g_assert_cmpstr(config.process_name, ==, "bar");
    g_assert_cmpstr(vmm_config_find_chardev(&config, "c")->path, ==, "/a,b");
    g_assert_cmpuint(vmm_config_find_chardev(&config, "c")->reconnect_ms, ==, 2000);
    memdev = vmm_config_find_memdev(&config, "m");
    g_assert_cmpuint(memdev->size, ==, UINT64_C(1536) << 20);
    g_assert_cmpuint(memdev->host_nodes, ==, 0xb);
    g_assert_cmpint(memdev->policy, ==, VMM_POLICY_BIND);
    g_assert_true(memdev->seal && memdev->prealloc && memdev->hugetlb && memdev->share);
    vmm_config_clear(&config);
}

static void test_nodes(void)
{
    struct vmm_config config;

    parse_good(&config,
               "-kernel k -m 3G -smp 4 -object memory-backend-memfd,id=a,size=1G"
               " -object memory-backend-memfd,id=b,size=2G"
               " -numa node,nodeid=0,cpus=0,cpus=2,memdev=a -numa node,cpus=1,cpus=3,memdev=b"
               " -numa node,nodeid=3 -numa dist,src=0,dst=1,val=17"
               " -numa dist,src=0,dst=3,val=30 -numa dist,src=1,dst=3,val=255"
               " -numa hmat-lb,initiator=0,target=1,hierarchy=memory,"
               "data-type=access-latency,latency=10");
    g_assert_cmpuint(config.n_nodes, ==, 4);
    g_assert_false(config.nodes[2].exists);
    g_assert_cmpuint(vmm_config_cpu_node(&config, 2), ==, 0);
    g_assert_cmpuint(vmm_config_cpu_node(&config, 3), ==, 1);
    g_assert_cmpuint(config.nodes[1].distances[0], ==, 17);
    g_assert_cmpuint(config.nodes[1].distances[1], ==, 10);
    g_assert_cmpuint(config.nodes[3].distances[1], ==, 255);
    vmm_config_clear(&config);

    /* What was left out: memory and vCPUs are shared evenly. */
    parse_good(&config, "-kernel k -m 1001M -smp 5 -numa node -numa node");
    g_assert_cmpuint(vmm_config_find_memdev(&config, config.nodes[0].memdev)->size, ==,
                     UINT64_C(500) << 20);
    g_assert_cmpuint(vmm_config_find_memdev(&config, config.nodes[1].memdev)->size, ==,
                     UINT64_C(501) << 20);
    g_assert_cmpuint(vmm_config_cpu_node(&config, 2), ==, 0);
    g_assert_cmpuint(vmm_config_cpu_node(&config, 3), ==, 1);
    g_assert_cmpuint(config.nodes[0].distances[1], ==, 20);
    vmm_config_clear(&config);

    parse_good(&config, "-kernel k -smp 4,sockets=2,cores=2 -numa node -numa node"
                        " -numa cpu,node-id=1,socket-id=0 -numa cpu,node-id=0,socket-id=1");
    g_assert_cmpuint(vmm_config_cpu_node(&config, 0), ==, 1);
    g_assert_cmpuint(vmm_config_cpu_node(&config, 3), ==, 0);
    vmm_config_clear(&config);

    /* In any order. */
    parse_good(&config, "-kernel k -numa node -numa node -numa cpu,node-id=0,core-id=1"
                        " -numa cpu,node-id=1,core-id=0 -smp 4,cores=2,threads=2");
    g_assert_cmpuint(vmm_config_cpu_node(&config, 1), ==, 1);
    g_assert_cmpuint(vmm_config_cpu_node(&config, 2), ==, 0);
    vmm_config_clear(&config);
}

static const struct {
    const char *line;
    const char *says[3]; /* words of the message: the option, the rule */
} mistakes[] = {
    {"", {"-kernel", "must be given"}},
    {"kernel", {"kernel", "begin with -"}},
    {"-kernel", {"-kernel", "expected FILE"}},
    {"-kernel k -bios x", {"-bios", "unknown option"}},
    {"-kernel k -m 0", {"-m", "not 0"}},
    {"-kernel k -m 1X", {"-m", "expected a size"}},
    {"-kernel k -m 99999999P", {"-m", "more than any"}},
    {"-kernel k -m 1G,maxmem=2G", {"maxmem", "plugged in"}},
    {"-kernel k -smp 0", {"-smp", "cpus", "from 1 to 255"}},
    {"-kernel k -smp 256", {"-smp", "cpus", "from 1 to 255"}},
    {"-kernel k -smp 4,sockets=3", {"-smp", "must be maxcpus"}},
    {"-kernel k -smp 4,maxcpus=2", {"-smp", "must not be below"}},
    {"-kernel k -smp sockets=255,cores=255,threads=255", {"-smp", "255 are the most"}},
    {"-kernel k -cpu EPYC", {"-cpu", "expected host"}},
    {"-kernel k -cpu host,foo", {"-cpu", "+FEATURE"}},
    {"-kernel k -accel tcg", {"-accel", "expected kvm"}},
    {"-kernel k -M q35,accel=tcg", {"-M", "expected kvm"}},
    {"-kernel k -M q35,foo=1", {"-M", "foo", "not known"}},
    {"-kernel k -vcpu-affinity 0", {"-vcpu-affinity", "VCPU:HOSTCPU"}},
    {"-kernel k -vcpu-affinity 3:0", {"-vcpu-affinity", "no vCPU 3"}},
    {"-kernel k -vcpu-affinity 1:0 -smp 1,maxcpus=2", {"-vcpu-affinity", "no vCPU 1"}},
    {"-kernel k -daemonize -serial stdio", {"-daemonize", "-serial"}},
    {"-kernel k -serial none -serial stdio", {"-serial", "one serial port"}},
    {"-kernel k -serial unix:/x,server=off", {"-serial", "server", "expected on"}},
    {"-kernel k -qmp unix:/x,server=off", {"-qmp", "server", "expected on"}},
    {"-kernel k -serial pty", {"-serial", "expected stdio"}},
    {"-kernel k -qmp tcp:localhost:1", {"-qmp", "unix:PATH"}},
    /* memory */
    {"-kernel k -object rng-random,id=x", {"-object", "not known"}},
    {"-kernel k -object memory-backend-memfd,size=1G", {"-object", "id", "must be given"}},
    {"-kernel k -object memory-backend-memfd,id=m", {"-object", "size", "must be given"}},
    {"-kernel k -object memory-backend-memfd,id=m,size=1000", {"size", "4096"}},
    {"-kernel k -object memory-backend-memfd,id=m,size=1G -object "
     "memory-backend-memfd,id=m,size=1G",
     {"-object", "id", "another"}},
    {"-kernel k -object memory-backend-memfd,id=m,size=1G,policy=bind", {"policy", "host-nodes"}},
    {"-kernel k -object memory-backend-memfd,id=m,size=1G,host-nodes=0", {"host-nodes", "policy"}},
    {"-kernel k -object memory-backend-memfd,id=m,size=1G,host-nodes=64,policy=bind",
     {"host-nodes", "at most 63"}},
    {"-kernel k -object memory-backend-memfd,id=m,size=1G,hugetlbsize=2M",
     {"hugetlbsize", "hugetlb=on"}},
    {"-kernel k -object memory-backend-memfd,id=m,size=1G,hugetlb=on,hugetlbsize=3M",
     {"hugetlbsize", "power of two"}},
    {"-kernel k -object memory-backend-memfd,id=m,size=1G,mem-path=/x", {"mem-path"}},
    {"-kernel k -object memory-backend-file,id=m,size=1G", {"mem-path", "must be given"}},
    {"-kernel k -object memory-backend-memfd,id=m,size=1G,share=maybe", {"share", "on or off"}},
    {"-kernel k -M q35,memory-backend=m", {"memory-backend", "no -object m"}},
    {"-kernel k -m 2G -object memory-backend-memfd,id=m,size=1G -numa node,memdev=m",
     {"-m", "sums to 1073741824"}},
    {"-kernel k -numa node,memdev=m", {"-numa", "no -object m"}},
    {"-kernel k -object memory-backend-memfd,id=m,size=1G -numa node,memdev=m -numa node,memdev=m",
     {"-numa", "nodeid=1", "another node's"}},
    {"-kernel k -chardev socket,id=c,path=p -device vhost-user-fs-pci,chardev=c,tag=t"
     " -object memory-backend-memfd,id=m,size=1G,share=off -numa node,memdev=m",
     {"-object m", "share=on"}},
    /* nodes */
    {"-kernel k -numa foo", {"-numa", "expected node"}},
    {"-kernel k -numa node,nodeid=64", {"nodeid", "0 to 63"}},
    {"-kernel k -numa node -numa node,nodeid=0", {"nodeid", "there already"}},
    {"-kernel k -numa node,mem=1G", {"mem", "memdev="}},
    {"-kernel k -smp 2 -numa node,cpus=0", {"-numa", "vCPU 1 is on no node"}},
    {"-kernel k -smp 2 -numa node,cpus=0-1 -numa node,cpus=1", {"-numa", "vCPU 1 is on two"}},
    {"-kernel k -smp 2 -numa node,cpus=0-2", {"-numa", "no vCPU 2"}},
    {"-kernel k -numa node,cpus=5-3", {"cpus", "range"}},
    {"-kernel k -numa node -numa dist,src=0,dst=1,val=20", {"-numa dist", "no node 1"}},
    {"-kernel k -numa node -numa dist,src=0,dst=0,val=11", {"val", "itself is 10"}},
    {"-kernel k -numa node -numa dist,src=0,dst=0,val=9", {"val", "10 to 255"}},
    {"-kernel k -numa node -numa node -numa node -numa dist,src=0,dst=1,val=20",
     {"-numa dist", "was not said"}},
    {"-kernel k -numa cpu,node-id=0,socket-id=0", {"node-id", "given before"}},
    {"-kernel k -numa node -numa cpu,node-id=0,socket-id=7", {"-numa cpu", "no vCPU"}},
    {"-kernel k -smp 4,sockets=2 -numa node -numa node -numa cpu,node-id=0,socket-id=0"
     " -numa cpu,node-id=1,socket-id=0",
     {"-numa", "on two nodes"}},
    {"-kernel k -numa node -numa hmat-lb,initiator=0,target=1,hierarchy=memory,"
     "data-type=access-latency,latency=10",
     {"-numa hmat-lb", "target", "node 1"}},
    {"-kernel k -numa node -numa hmat-lb,initiator=0,target=0,hierarchy=memory,"
     "data-type=access-latency,bandwidth=10",
     {"-numa", "takes latency="}},
    {"-kernel k -numa node -numa hmat-cache,node-id=0,size=1M,level=1,line=64",
     {"-numa hmat-cache", "policy", "must be given"}},
    {"-kernel k -numa node -numa hmat-cache,node-id=1,size=1M,level=1,associativity=none,"
     "policy=none,line=64",
     {"-numa hmat-cache", "node 1", "no memory"}},
    {"-kernel k -numa node -numa hmat-cache,node-id=0,size=1M,level=4", {"level", "1 to 3"}},
    /* devices */
    {"-kernel k -chardev stdio,id=c", {"-chardev", "expected socket"}},
    {"-kernel k -chardev socket,path=p", {"-chardev", "id", "must be given"}},
    {"-kernel k -chardev socket,id=c", {"-chardev", "path", "must be given"}},
    {"-kernel k -chardev socket,id=c,path=p,server=on", {"-chardev", "server", "back-ends listen"}},
    {"-kernel k -chardev socket,id=c,path=p -chardev socket,id=c,path=q",
     {"-chardev", "another's"}},
    {"-kernel k -device virtio-net-pci", {"-device", "not known", "vhost-user-fs-pci"}},
    {"-kernel k -device vhost-user-fs-pci,tag=x", {"-device", "chardev", "must be given"}},
    {"-kernel k -device vhost-user-fs-pci,chardev=c", {"-device", "no -chardev c"}},
    {"-kernel k -chardev socket,id=c,path=p -device vhost-user-fs-pci,chardev=c"
     " -device vhost-user-blk-pci,chardev=c",
     {"-device", "chardev", "another device's"}},
    {"-kernel k -chardev socket,id=c,path=p -device vhost-user-blk-pci,chardev=c,queue-size=100",
     {"queue-size", "power of two"}},
    {"-kernel k -device vhost-user-fs-pci,chardev=c,"
     "tag=0123456789012345678901234567890123456",
     {"tag", "36 bytes"}},
    {"-kernel k -device vhost-user-fs-pci,chardev=c,num-request-queues=0", {"1 to 254"}},
    {"-kernel k -device vhost-user-rng-pci,chardev=c,addr=20", {"addr", "at most 1f"}},
    {"-kernel k -device vhost-user-device-pci,chardev=c", {"virtio-id", "must be given"}},
    {"-kernel k -chardev socket,id=a,path=p -chardev socket,id=b,path=q"
     " -device vhost-user-rng-pci,chardev=a,addr=3 -device vhost-user-rng-pci,chardev=b,addr=3",
     {"addr", "slot 3 is taken"}},
    {"-kernel k -chardev socket,id=a,path=p -chardev socket,id=b,path=q"
     " -device vhost-user-rng-pci,chardev=a,id=x -device vhost-user-rng-pci,chardev=b,id=x",
     {"id", "x is another"}},
    {"-kernel k -chardev socket,id=a,path=p -device vhost-user-rng-pci,chardev=a,numa_node=2",
     {"numa_node", "no node 2"}},
    {"-kernel k -chardev socket,id=a,path=p -device vhost-user-rng-pci,chardev=a,addr=0",
     {"addr", "host bridge"}},
    {"-kernel k -device pxb-pcie,bus_nr=3", {"pxb-pcie", "id: must"}},
    {"-kernel k -device pxb-pcie,id=pcie.0", {"id", "another's"}},
    {"-kernel k -device pxb-pcie,id=a -device pcie-root-port,id=a", {"id", "another's"}},
    {"-kernel k -device pxb-pcie,id=a,bus=b", {"bus", "pcie.0"}},
    {"-kernel k -device pxb-pcie,id=a,bus_nr=0", {"bus_nr", "1 to 255"}},
    {"-kernel k -device pxb-pcie,id=a,bus_nr=9 -device pxb-pcie,id=b,bus_nr=9",
     {"bus_nr", "9 is another's"}},
    {"-kernel k -device pxb-pcie,id=a,numa_node=1", {"numa_node", "no node 1"}},
    {"-kernel k -device pxb-pcie,id=a,addr=0", {"addr", "slot 0"}},
    {"-kernel k -device pcie-root-port,id=a,bus=b", {"bus", "b is no host bridge"}},
    {"-kernel k -device pcie-root-port,id=a -device pcie-root-port,id=b,bus=a",
     {"bus", "a is no host bridge"}},
    {"-kernel k -chardev socket,id=a,path=p -device vhost-user-rng-pci,chardev=a,bus=b",
     {"bus", "no -device pxb-pcie or pcie-root-port b"}},
    {"-kernel k -device pcie-root-port,id=r -chardev socket,id=a,path=p"
     " -device vhost-user-rng-pci,chardev=a,bus=r,addr=1",
     {"addr", "0 alone"}},
    {"-kernel k -device pcie-root-port,id=r -chardev socket,id=a,path=p"
     " -chardev socket,id=b,path=q -device vhost-user-rng-pci,chardev=a,bus=r"
     " -device vhost-user-rng-pci,chardev=b,bus=r",
     {"bus", "r has a device"}},
    {"-kernel k -m 2G -numa node -numa node -device pxb-pcie,id=x,numa_node=1"
     " -chardev socket,id=a,path=p -device vhost-user-rng-pci,chardev=a,bus=x,numa_node=0",
     {"numa_node", "x is not near node 0"}},
};

static const struct vmm_device_config *device_of(const struct vmm_config *config, unsigned index)
{
    return g_ptr_array_index(config->devices, index);
}

/* Devices are behind host bridges near their nodes. */
static void test_bridges(void)
{
    static const char nodes[] = "-kernel k -m 2G -numa node -numa node"
                                " -chardev socket,id=a,path=p -chardev socket,id=b,path=q"
                                " -chardev socket,id=c,path=r ";
    g_autofree char *by_node = g_strconcat(nodes,
                                           "-device vhost-user-rng-pci,chardev=a,numa_node=1,addr=2"
                                           " -device vhost-user-rng-pci,chardev=b,addr=2"
                                           " -device vhost-user-rng-pci,chardev=c,numa_node=1",
                                           NULL);
    /* As QEMU's documents have it. */
    g_autofree char *named = g_strconcat(
        nodes,
        "-device pxb-pcie,id=pcie.1,bus_nr=8,numa_node=1,bus=pcie.0,addr=0x9"
        " -device pxb-pcie,id=pcie.2"
        " -device pcie-root-port,id=rp1,bus=pcie.1,chassis=4,slot=1,addr=0x2.0x1,multifunction=on"
        " -device vhost-user-blk-pci,chardev=a,bus=rp1,addr=0x0"
        " -device vhost-user-blk-pci,chardev=b,bus=pcie.0"
        " -device vhost-user-blk-pci,chardev=c,numa_node=0",
        NULL);
    struct vmm_config config;
    g_autoptr(GError) error = NULL;

    parse_good(&config, by_node);
    g_assert_cmpuint(config.bridges->len, ==, 2);
    g_assert_cmpint(vmm_config_bridge(&config, 1)->numa_node, ==, 1);
    g_assert_cmpint(vmm_config_bridge(&config, 0)->numa_node, ==, VMM_NO_NODE);
    g_assert_cmpuint(device_of(&config, 0)->bridge, ==, 1);
    g_assert_cmpuint(device_of(&config, 1)->bridge, ==, 0);
    g_assert_cmpuint(device_of(&config, 2)->bridge, ==, 1);
    g_assert_cmpuint(vmm_config_bridge(&config, 0)->n_slots, ==, 32);
    g_assert_cmpuint(vmm_config_bridge(&config, 1)->n_slots, ==, 8);
    vmm_config_clear(&config);

    parse_good(&config, named);
    g_assert_cmpuint(config.bridges->len, ==, 4);
    g_assert_cmpuint(vmm_config_bridge(&config, 1)->bus_nr, ==, 8);
    g_assert_cmpint(vmm_config_bridge(&config, 1)->slot, ==, 9);
    g_assert_cmpuint(vmm_config_bridge(&config, 2)->bus_nr, ==, 16);
    g_assert_cmpuint(vmm_config_bridge(&config, 3)->bus_nr, ==, 24);
    g_assert_cmpuint(device_of(&config, 0)->bridge, ==, 1);
    g_assert_cmpint(device_of(&config, 0)->slot, ==, -1);
    g_assert_cmpuint(device_of(&config, 1)->bridge, ==, 0);
    g_assert_cmpuint(device_of(&config, 2)->bridge, ==, 3);

    /* One that comes later finds a place, or none. */
    vmm_config_remove_device(&config, device_of(&config, 0));
    g_assert_true(vmm_cmdline_parse_device(&config, "vhost-user-rng-pci,chardev=a,bus=rp1", NULL));
    g_assert_true(vmm_config_check_device(&config, 2, NULL));
    g_assert_cmpuint(device_of(&config, 2)->bridge, ==, 1);
    vmm_config_clear(&config);

    parse_good(&config, nodes);
    g_assert_true(
        vmm_cmdline_parse_device(&config, "vhost-user-rng-pci,chardev=a,numa_node=1", NULL));
    g_assert_false(vmm_config_check_device(&config, 0, &error));
    g_assert_nonnull(strstr(error->message, "no host bridge is near node 1"));
    g_assert_false(vmm_cmdline_parse_device(&config, "pxb-pcie,id=x", NULL));
    vmm_config_clear(&config);
}

static void test_mistakes(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(mistakes); i++) {
        g_autoptr(GError) error = NULL;
        struct vmm_config config;

        g_test_message("%s", mistakes[i].line);
        g_assert_cmpint(parse(&config, mistakes[i].line, &error), ==, VMM_CMDLINE_WRONG);
        g_assert_nonnull(error);
        for (size_t w = 0; w < G_N_ELEMENTS(mistakes[i].says) && mistakes[i].says[w]; w++) {
            if (!strstr(error->message, mistakes[i].says[w]))
                g_error("\"%s\" does not say \"%s\"", error->message, mistakes[i].says[w]);
        }
        vmm_config_clear(&config);
    }
}

static void test_questions(void)
{
    struct vmm_config config;

    g_assert_cmpint(parse(&config, "-kernel k -h", NULL), ==, VMM_CMDLINE_HELP);
    vmm_config_clear(&config);
    g_assert_cmpint(parse(&config, "--version", NULL), ==, VMM_CMDLINE_VERSION);
    vmm_config_clear(&config);
    parse_good(&config, "--probe");
    vmm_config_clear(&config);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vmm/cmdline/users-line", test_users_line);
    g_test_add_func("/vmm/cmdline/habits", test_habits);
    g_test_add_func("/vmm/cmdline/values", test_values);
    g_test_add_func("/vmm/cmdline/nodes", test_nodes);
    g_test_add_func("/vmm/cmdline/bridges", test_bridges);
    g_test_add_func("/vmm/cmdline/mistakes", test_mistakes);
    g_test_add_func("/vmm/cmdline/questions", test_questions);
    return g_test_run();
}
