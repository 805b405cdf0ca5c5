/* filter.c - the system calls that a confined host has not: a seccomp program made at run time.
 *
 * What is left is what libc and computing need.  Calls newer than this list are
 * answered ENOSYS, as an older kernel would, so that none slips past it.  Threads
 * are allowed, processes are not: nothing may outlive its host.  Landlock leaves
 * open whose a file is, who may use it and when it was written, so that these
 * calls are denied altogether: one of another task host, or of the executor, has
 * the same owner.
 */
#include "executor/host/confine.h"

#include <asm/ioctls.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#define NR_X32 0x40000000u
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#else
#error "filter.c: name this architecture's AUDIT_ARCH"
#endif

#define NR_LAST SYS_set_mempolicy_home_node
#define PROGRAM_MAX 512

static const int denied[] = {
    /* sockets: it keeps the one it has */
    SYS_socket,
    SYS_socketpair,
    SYS_connect,
    SYS_bind,
    SYS_listen,
    SYS_accept,
    SYS_accept4,
    /* other processes */
    SYS_execve,
    SYS_execveat,
    SYS_ptrace,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_process_madvise,
    SYS_process_mrelease,
    SYS_kcmp,
    SYS_pidfd_open,
    SYS_pidfd_getfd,
    SYS_pidfd_send_signal,
    SYS_tkill,
    SYS_rt_sigqueueinfo,
    SYS_rt_tgsigqueueinfo,
    SYS_setns,
    SYS_unshare,
    SYS_setpgid,
    SYS_setsid,
    SYS_setpriority,
    SYS_ioprio_set,
    SYS_sched_setscheduler,
    SYS_sched_setparam,
    SYS_sched_setattr,
    /* files' owners, modes, times and attributes */
    SYS_fchmod,
    SYS_fchmodat,
    SYS_fchown,
    SYS_fchownat,
    SYS_utimensat,
    SYS_setxattr,
    SYS_lsetxattr,
    SYS_fsetxattr,
    SYS_removexattr,
    SYS_lremovexattr,
    SYS_fremovexattr,
    /* ways around this filter, and into the kernel */
    SYS_io_uring_setup,
    SYS_io_uring_enter,
    SYS_io_uring_register,
    SYS_bpf,
    SYS_perf_event_open,
    SYS_userfaultfd,
    SYS_seccomp,
    SYS_keyctl,
    SYS_add_key,
    SYS_request_key,
    SYS_personality,
    SYS_init_module,
    SYS_finit_module,
    SYS_delete_module,
    SYS_kexec_load,
    SYS_syslog,
    SYS_fanotify_init,
    SYS_open_by_handle_at,
    SYS_name_to_handle_at,
    SYS_lookup_dcookie,
    /* the machine */
    SYS_mount,
    SYS_umount2,
    SYS_pivot_root,
    SYS_chroot,
    SYS_mount_setattr,
    SYS_move_mount,
    SYS_open_tree,
    SYS_fsopen,
    SYS_fsconfig,
    SYS_fsmount,
    SYS_fspick,
    SYS_swapon,
    SYS_swapoff,
    SYS_quotactl,
    SYS_quotactl_fd,
    SYS_acct,
    SYS_reboot,
    SYS_settimeofday,
    SYS_clock_settime,
    SYS_adjtimex,
    SYS_clock_adjtime,
    SYS_sethostname,
    SYS_setdomainname,
    SYS_vhangup,
    SYS_mknodat,
    /* what would outlive it, and memory that isn't seen to be its own */
    SYS_memfd_create,
    SYS_memfd_secret,
    SYS_shmget,
    SYS_shmat,
    SYS_shmctl,
    SYS_shmdt,
    SYS_semget,
    SYS_msgget,
    SYS_mq_open,
#if defined(__x86_64__)
    SYS_fork,
    SYS_vfork,
    SYS_chmod,
    SYS_chown,
    SYS_lchown,
    SYS_utime,
    SYS_utimes,
    SYS_futimesat,
    SYS_ioperm,
    SYS_iopl,
    SYS_modify_ldt,
    SYS_mknod,
    SYS_uselib,
    SYS_ustat,
    SYS_sysfs,
    SYS_kexec_file_load,
#endif
};

/* Of fcntl: signals by the kernel's hand to any process of this user, and a lease, at which whoever opens the file waits. */
static const uint32_t fcntl_denied[] = { F_SETOWN, F_SETOWN_EX, F_SETSIG, F_SETLEASE };

/* Of ioctl, all that is left: others signal, push input into a terminal, or change a file's flags. */
static const uint32_t ioctl_allowed[] = { TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIOCLEX, FIONCLEX };

struct program {
    struct sock_filter v[PROGRAM_MAX];
    unsigned short n;
};

static void add(struct program *p, struct sock_filter f)
{
    if (p->n < PROGRAM_MAX)
        p->v[p->n++] = f;
}

static void add_load(struct program *p, size_t offset)
{
    add(p, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset));
}

static void add_return(struct program *p, uint32_t what)
{
    add(p, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, what));
}

/* Go on `yes` or `no` instructions further. */
static void add_jump(struct program *p, uint16_t op, uint32_t value, uint8_t yes, uint8_t no)
{
    add(p, (struct sock_filter)BPF_JUMP((uint16_t)(BPF_JMP | op | BPF_K), value, yes, no));
}

static void answer(struct program *p, int nr, uint32_t with)
{
    add_jump(p, BPF_JEQ, (uint32_t)nr, 0, 1);
    add_return(p, with);
}

/* The call is allowed when its argument passes the test, else EPERM; `wanted` false: the other way round. */
static void only_when(struct program *p, int nr, int arg, uint16_t op, uint32_t value, bool wanted)
{
    uint32_t no = SECCOMP_RET_ERRNO | EPERM;
    add_jump(p, BPF_JEQ, (uint32_t)nr, 0, 4);
    add_load(p, offsetof(struct seccomp_data, args) +
                    8 * (size_t)arg); /* the low half: both are little-endian */
    add_jump(p, op, value, 0, 1);
    add_return(p, wanted ? SECCOMP_RET_ALLOW : no);
    add_return(p, wanted ? no : SECCOMP_RET_ALLOW);
}

/* The same of several values, of which the argument must be one (`wanted`) or none. */
static void only_when_any(struct program *p, int nr, int arg, const uint32_t *values, uint8_t n, bool wanted)
{
    uint32_t no = SECCOMP_RET_ERRNO | EPERM;
    add_jump(p, BPF_JEQ, (uint32_t)nr, 0, (uint8_t)(n + 3));
    add_load(p, offsetof(struct seccomp_data, args) + 8 * (size_t)arg);
    for (uint8_t i = 0; i < n; i++)
        add_jump(p, BPF_JEQ, values[i], (uint8_t)(n - i), 0);
    add_return(p, wanted ? no : SECCOMP_RET_ALLOW);
    add_return(p, wanted ? SECCOMP_RET_ALLOW : no);
}

/* Pages of a shared mapping without a file stay when they are unmapped from sight: no measure of a process finds them. */
static void no_shared_memory(struct program *p)
{
    add_jump(p, BPF_JEQ, SYS_mmap, 0, 5);
    add_load(p, offsetof(struct seccomp_data, args) + 8 * 3);
    add_jump(p, BPF_JSET, MAP_ANONYMOUS, 0, 2);
    add_jump(p, BPF_JSET, MAP_SHARED, 0, 1); /* MAP_SHARED_VALIDATE has this bit, too */
    add_return(p, SECCOMP_RET_ERRNO | EPERM);
    add_return(p, SECCOMP_RET_ALLOW);
}

#define COUNT(v) ((uint8_t)(sizeof(v) / sizeof *(v)))

static void build(struct program *p)
{
    uint32_t self = (uint32_t)getpid();
    add_load(p, offsetof(struct seccomp_data, arch));
    add_jump(p, BPF_JEQ, ARCH, 1, 0);
    add_return(p, SECCOMP_RET_KILL_PROCESS);
    add_load(p, offsetof(struct seccomp_data, nr));
#ifdef NR_X32
    add_jump(p, BPF_JGE, NR_X32, 0, 1);
    add_return(p, SECCOMP_RET_KILL_PROCESS);
#endif
    add_jump(p, BPF_JGT, NR_LAST, 0, 1);
    add_return(p, SECCOMP_RET_ERRNO | ENOSYS);
    for (size_t i = 0; i < sizeof denied / sizeof *denied; i++)
        answer(p, denied[i], SECCOMP_RET_ERRNO | EPERM);
    answer(p, SYS_clone3, SECCOMP_RET_ERRNO | ENOSYS); /* its flags are out of sight: libc then uses clone */
    only_when(p, SYS_clone, 0, BPF_JSET, CLONE_THREAD, true);
    only_when(p, SYS_kill, 0, BPF_JEQ, self, true);
    only_when(p, SYS_tgkill, 0, BPF_JEQ, self, true);
    only_when(p, SYS_prlimit64, 0, BPF_JEQ, 0, true);
    only_when(p, SYS_prctl, 0, BPF_JEQ, PR_SET_PDEATHSIG, false);
    only_when(p, SYS_sched_setaffinity, 0, BPF_JEQ, 0, true);
    only_when_any(p, SYS_fcntl, 1, fcntl_denied, COUNT(fcntl_denied), false);
    only_when_any(p, SYS_ioctl, 1, ioctl_allowed, COUNT(ioctl_allowed), true);
    no_shared_memory(p);
    add_return(p, SECCOMP_RET_ALLOW);
}

int filter_install(struct error *e)
{
    struct program p = { .n = 0 };
    build(&p);
    struct sock_fprog whole = { p.n, p.v };
    if (p.n == PROGRAM_MAX)
        return error_set(e, E2BIG, "seccomp: the filter is longer than its room");
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &whole))
        return error_sys(e, "seccomp");
    return 0;
}
