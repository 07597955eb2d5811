// The wires of the WAN lab. The router reads IP packets from one TUN device per host. It writes each packet to its
// destination's device when the packet has passed two access links: the sender's up and the receiver's down.
//
// Every direction of an access link is, in this order: a queue with a bounded number of bytes that is emptied
// at the link's rate; a loss, drawn per packet; a delay with jitter that never reorders. Times are computed from
// the moment at which a packet is due, not from the moment at which this program handles it: being late with one
// packet delays no other.
//
//   router run CONTROL_FD SEED         serve, until the other end of the control socket or the parent is gone
//   router enter NAMESPACE PROGRAM...  become a program inside a network namespace, given as a file
//   router sweep NAMESPACE...          kill every process inside one of these namespaces of the parent's
//
// The control socket is a SOCK_SEQPACKET pair; scripts/lab/router.py is its other end, requests.hpp has the words.
//
// main.cpp includes all other files: one translation unit, which the compiler can optimize as a whole.

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "router.hpp"
#include "sweep.hpp"

namespace {

// The delay of a link must not depend on how busy the processors are with what runs at its ends.
void hurry() {
    prctl(PR_SET_TIMERSLACK, 1);
    sched_param priority{};
    priority.sched_priority = 1;
    if (sched_setscheduler(0, SCHED_RR, &priority) != 0) setpriority(PRIO_PROCESS, 0, -20);
}

int fail(const char* what) {
    std::fprintf(stderr, "router: %s: %s\n", what, std::strerror(errno));
    return errno == ENOENT ? 127 : 126;
}

int enter(char** arguments) {
    const int network = open(arguments[0], O_RDONLY | O_CLOEXEC);
    if (network < 0 || setns(network, CLONE_NEWNET) != 0) return fail("can't enter the host's network");
    execvp(arguments[1], arguments + 1);
    return fail(arguments[1]);
}

}  // namespace

int main(int count, char** arguments) {
    const std::string mode = count > 2 ? arguments[1] : "";
    if (mode == "run" && count == 4) {
        hurry();
        Router(std::atoi(arguments[2]), std::strtoull(arguments[3], nullptr, 10)).serve();
        return 0;
    }
    if (mode == "enter" && count > 3) return enter(arguments + 2);
    if (mode == "sweep") return sweep_files(count - 2, arguments + 2);
    std::fputs("usage: router run CONTROL_FD SEED | enter NAMESPACE PROGRAM... | sweep NAMESPACE...\n", stderr);
    return 2;
}
