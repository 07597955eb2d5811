// The wires of the WAN lab. Reads IPv4 packets from one TUN device per host and writes each of them to its
// destination's device when it has passed two access links: the sender's up and the receiver's down.
//
// Every direction of an access link is, in this order: a queue with a bounded number of bytes that is emptied
// at the link's rate; a loss, drawn per packet; a delay with jitter that never reorders. Times are computed
// with the moment at which a packet is due, not with the one at which this program got around to it, so
// being late with one packet delays no other.
//
//   router run CONTROL_FD SEED         serve, until the other end of the control socket or the parent is gone
//   router enter NAMESPACE PROGRAM...  become a program inside a network namespace, given as a file
//   router sweep NAMESPACE...          kill every process inside one of these namespaces of the parent's
//
// The control socket is a SOCK_SEQPACKET pair; scripts/lab/router.py is its other end. A message is a request:
//
//   host INDEX LINK         with two descriptors: the host's TUN device and its network namespace
//   shape INDEX LINK        LINK is: delay_ns jitter_ns up_bits_per_second down_bits_per_second loss
//   cut INDEX up|down|both
//   heal INDEX up|down|both
//   counters
//
// and is answered with `ok`, followed by lines for `counters`, or with `error` and a reason.

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <deque>
#include <fstream>
#include <map>
#include <memory>
#include <queue>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace {

using Nanoseconds = int64_t;

constexpr Nanoseconds kSecond = 1'000'000'000;
constexpr Nanoseconds kForever = INT64_MAX;
constexpr size_t kMaxPacketBytes = 1500;  // the MTU that scripts/lab/namespaces.py sets
constexpr uint8_t kNetwork[2] = {10, 77};
constexpr int kReadsPerTurn = 64;  // then other hosts and due packets get their turn
// A processor that slept for milliseconds wakes 0.15 ms late (measured in a virtual machine), after a short
// sleep 0.03 to 0.05 ms late. So the router wakes early from long sleeps, and sleeps again.
constexpr Nanoseconds kLongSleep = 1'000'000, kEarly = 200'000;
constexpr size_t kControlMessageBytes = 4096;

// TCP fills a link whose buffer holds a round trip; 100 ms covers every profile. Slow links need some whole
// packets anyway, and fast ones no more than TCP has in flight.
constexpr double kBufferSeconds = 0.1;
constexpr double kMinBufferBytes = 64 << 10;
constexpr double kMaxBufferBytes = 4 << 20;

Nanoseconds now() {
    timespec time{};
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * kSecond + time.tv_nsec;
}

// splitmix64, by Sebastiano Vigna: a good hash of consecutive numbers.
uint64_t mix(uint64_t value) {
    value += 0x9e3779b97f4a7c15;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
    value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
    return value ^ (value >> 31);
}

// The draw number `index` of a stream, in [0, 1).
double uniform(uint64_t stream, uint64_t index) {
    return static_cast<double>(mix(stream ^ mix(index)) >> 11) * 0x1p-53;
}

struct Packet {
    size_t size = 0;
    uint8_t bytes[kMaxPacketBytes];
};

// Packets that are used again: a fast link has tens of thousands of them per second.
class PacketPool {
  public:
    std::unique_ptr<Packet> take() {
        if (free_.empty()) return std::make_unique<Packet>();
        auto packet = std::move(free_.back());
        free_.pop_back();
        return packet;
    }
    void give(std::unique_ptr<Packet> packet) { free_.push_back(std::move(packet)); }

  private:
    std::vector<std::unique_ptr<Packet>> free_;
};

struct Host;

struct InFlight {
    Nanoseconds leaves_at;
    std::unique_ptr<Packet> packet;
    Host* destination;
};

struct Counters {
    uint64_t packets = 0, bytes = 0, lost = 0, overflowed = 0, cut = 0, unroutable = 0;
};

struct LinkSettings {
    Nanoseconds delay = 0, jitter = 0;
    double bits_per_second = 1, loss = 0;
};

// One direction of one host's access link.
class Pipe {
  public:
    Pipe(Host* owner, bool is_up, uint64_t stream)
        : owner(owner), is_up(is_up), loss_stream_(mix(stream)), jitter_stream_(mix(loss_stream_)) {}

    void shape(const LinkSettings& settings) { settings_ = settings; }

    // Says when a packet that arrives at `at` leaves the link, or a negative number: it is dropped.
    Nanoseconds pass(size_t bytes, Nanoseconds at) {
        if (cut) return counters.cut++, -1;
        const double bytes_per_ns = settings_.bits_per_second / 8 / kSecond;
        const double backlog = at < idle_at_ ? static_cast<double>(idle_at_ - at) * bytes_per_ns : 0;
        const double buffer = std::clamp(kBufferSeconds * settings_.bits_per_second / 8, kMinBufferBytes,
                                         kMaxBufferBytes);
        if (backlog + static_cast<double>(bytes) > buffer) return counters.overflowed++, -1;
        idle_at_ = std::max(at, idle_at_) +
                   static_cast<Nanoseconds>(static_cast<double>(bytes) / bytes_per_ns + 0.5);
        if (uniform(loss_stream_, draws_++) < settings_.loss) return counters.lost++, -1;
        last_exit_ = std::max(last_exit_, idle_at_ + settings_.delay + jitter_at(idle_at_));
        return last_exit_;
    }

    Host* const owner;
    const bool is_up;
    bool cut = false;
    Counters counters;
    std::deque<InFlight> in_flight;  // in the order of leaves_at

  private:
    // A random walk between -jitter and +jitter, linear between points. It falls by at most half a second per
    // second, so a later packet never overtakes an earlier one, and a burst isn't held up by its worst draw.
    Nanoseconds jitter_at(Nanoseconds at) const {
        if (settings_.jitter == 0) return 0;
        const Nanoseconds period = 4 * settings_.jitter;
        const auto point = static_cast<uint64_t>(at / period);
        const double part = static_cast<double>(at % period) / static_cast<double>(period);
        const double before = uniform(jitter_stream_, point), after = uniform(jitter_stream_, point + 1);
        const double height = 2 * (before + (after - before) * part) - 1;
        return static_cast<Nanoseconds>(height * static_cast<double>(settings_.jitter));
    }

    LinkSettings settings_;
    Nanoseconds idle_at_ = 0, last_exit_ = 0;
    uint64_t draws_ = 0;
    const uint64_t loss_stream_, jitter_stream_;
};

struct Host {
    Host(int tun, ino_t network, uint64_t stream)
        : tun(tun), network(network), up(this, true, mix(stream)), down(this, false, mix(~stream)) {}

    int tun;
    const ino_t network;
    Pipe up, down;
};

// What a link in /proc points to, or nothing.
std::string link_target(const std::string& file) {
    char target[PATH_MAX];
    const ssize_t size = readlink(file.c_str(), target, sizeof target);
    return size < 0 ? "" : std::string(target, static_cast<size_t>(size));
}

enum class Entering { kNo, kPerhaps, kYes };

// Whether `enter` is running and hasn't become its program yet, so that it may not have moved.
Entering is_entering(const std::string& process, const std::string& lab) {
    static const std::string own_program = link_target("/proc/self/exe");
    if (link_target(process + "/exe") != own_program) return Entering::kNo;
    std::ifstream file(process + "/cmdline");
    std::string program, mode, network;
    std::getline(file, program, '\0');
    std::getline(file, mode, '\0');
    std::getline(file, network, '\0');
    if (program.empty()) return Entering::kPerhaps;  // so new that the kernel hasn't laid out its arguments
    return mode == "enter" && network.rfind(lab + "/", 0) == 0 ? Entering::kYes : Entering::kNo;
}

// Kills every process whose main thread is in one of the lab's networks, or on its way there, until there is
// none. Nobody else's namespace can have the number of one of these: the TUN devices keep them alive.
void sweep(const std::set<ino_t>& networks, pid_t lab) {
    const std::string lab_folder = "/proc/" + std::to_string(lab);
    const Nanoseconds deadline = now() + 5 * kSecond;
    for (bool found = true; found && now() < deadline;) {
        found = false;
        DIR* processes = opendir("/proc");
        if (processes == nullptr) return;
        while (const dirent* entry = readdir(processes)) {
            const pid_t pid = static_cast<pid_t>(std::strtol(entry->d_name, nullptr, 10));
            if (pid <= 1 || pid == getpid()) continue;
            const std::string process = "/proc/" + std::to_string(pid);
            struct stat network {};
            const bool inside = stat((process + "/ns/net").c_str(), &network) == 0 &&
                                networks.count(network.st_ino) != 0;
            const Entering entering = inside ? Entering::kYes : is_entering(process, lab_folder);
            if (entering == Entering::kNo) continue;
            found = true;
            if (entering == Entering::kYes) kill(pid, SIGKILL);
        }
        closedir(processes);
        if (found) usleep(2000);
    }
}

class Router {
  public:
    Router(int control, uint64_t seed) : control_(control), seed_(seed), started_(now()) {}

    // Returns when the lab is gone.
    void serve() {
        const int parent = static_cast<int>(syscall(SYS_pidfd_open, lab_, 0));
        for (;;) {
            deliver_due();
            polled_.clear();
            polled_.push_back({control_, POLLIN, 0});
            polled_.push_back({parent, POLLIN, 0});  // a descriptor of -1 is passed over
            for (const auto& [index, host] : hosts_) polled_.push_back({host->tun, POLLIN, 0});
            timespec wait{};
            const Nanoseconds due_at = next_due();
            if (due_at != kForever) {
                Nanoseconds left = std::max<Nanoseconds>(0, due_at - clock());
                if (left > kLongSleep) left -= kEarly;
                wait = {static_cast<time_t>(left / kSecond), static_cast<long>(left % kSecond)};
            }
            const timespec* limit = due_at == kForever ? nullptr : &wait;
            if (ppoll(polled_.data(), polled_.size(), limit, nullptr) < 0) continue;
            size_t position = 2;
            for (auto& [index, host] : hosts_) {
                if (polled_[position++].revents != 0) read_from(*host);
            }
            if (polled_[1].revents != 0 || (polled_[0].revents != 0 && !answer_request())) break;
        }
        std::set<ino_t> networks;
        for (const auto& [index, host] : hosts_) networks.insert(host->network);
        sweep(networks, lab_);
    }

  private:
    struct Head {
        Nanoseconds leaves_at;
        uint64_t order;  // of two that leave together, the one that came first
        Pipe* pipe;
        bool operator>(const Head& other) const {
            return leaves_at != other.leaves_at ? leaves_at > other.leaves_at : order > other.order;
        }
    };

    Nanoseconds clock() const { return now() - started_; }

    void read_from(Host& host) {
        for (int count = 0; count < kReadsPerTurn; ++count) {
            auto packet = pool_.take();
            const ssize_t size = read(host.tun, packet->bytes, kMaxPacketBytes);
            if (size < 0) {
                pool_.give(std::move(packet));
                if (errno != EAGAIN && errno != EINTR) host.tun = -1;  // the device is gone
                return;
            }
            packet->size = static_cast<size_t>(size);
            Host* destination = find_destination(*packet);
            if (destination == nullptr) {
                host.up.counters.unroutable++;
                pool_.give(std::move(packet));
            } else {
                send(host.up, std::move(packet), destination, clock());
            }
        }
    }

    Host* find_destination(const Packet& packet) const {
        if (packet.size < 20 || packet.bytes[0] >> 4 != 4) return nullptr;
        const uint8_t* address = packet.bytes + 16;
        if (!std::equal(kNetwork, kNetwork + 2, address)) return nullptr;
        const auto found = hosts_.find(address[2] << 8 | address[3]);
        return found == hosts_.end() ? nullptr : found->second.get();
    }

    void send(Pipe& pipe, std::unique_ptr<Packet> packet, Host* destination, Nanoseconds at) {
        const Nanoseconds leaves_at = pipe.pass(packet->size, at);
        if (leaves_at < 0) return pool_.give(std::move(packet));
        if (pipe.in_flight.empty()) heads(pipe).push({leaves_at, order_++, &pipe});
        pipe.in_flight.push_back({leaves_at, std::move(packet), destination});
    }

    using Heads = std::priority_queue<Head, std::vector<Head>, std::greater<>>;

    Heads& heads(const Pipe& pipe) { return pipe.is_up ? up_heads_ : down_heads_; }

    // When something has to be done. From up to down a packet moves without anybody seeing it, so that may wait
    // until it could be through the down link as well: one wake-up for both.
    Nanoseconds next_due() const {
        const Nanoseconds down = down_heads_.empty() ? kForever : down_heads_.top().leaves_at;
        return up_heads_.empty() ? down : std::min(down, up_heads_.top().leaves_at + least_down_delay_);
    }

    void deliver_due() {
        const Nanoseconds time = clock();
        leave_until(time, up_heads_);
        leave_until(time, down_heads_);
    }

    void leave_until(Nanoseconds time, Heads& heads) {
        while (!heads.empty() && heads.top().leaves_at <= time) {
            Pipe& pipe = *heads.top().pipe;
            heads.pop();
            InFlight leaving = std::move(pipe.in_flight.front());
            pipe.in_flight.pop_front();
            if (!pipe.in_flight.empty()) heads.push({pipe.in_flight.front().leaves_at, order_++, &pipe});
            leave(pipe, std::move(leaving));
        }
    }

    void leave(Pipe& pipe, InFlight leaving) {
        if (pipe.cut) {  // what is on a wire when it is cut doesn't arrive
            pipe.counters.cut++;
            return pool_.give(std::move(leaving.packet));
        }
        pipe.counters.packets++;
        pipe.counters.bytes += leaving.packet->size;
        if (pipe.is_up) {
            Pipe& down = leaving.destination->down;
            return send(down, std::move(leaving.packet), leaving.destination, leaving.leaves_at);
        }
        // A device that takes nothing is one that was shut from inside; its host notices by itself.
        if (write(pipe.owner->tun, leaving.packet->bytes, leaving.packet->size) < 0) pipe.counters.unroutable++;
        pool_.give(std::move(leaving.packet));
    }

    // False when the lab has closed its end.
    bool answer_request() {
        char text[kControlMessageBytes];
        alignas(cmsghdr) char ancillary[CMSG_SPACE(2 * sizeof(int))];
        iovec part{text, sizeof text};
        msghdr message{};
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        message.msg_control = ancillary;
        message.msg_controllen = sizeof ancillary;
        const ssize_t size = recvmsg(control_, &message, MSG_CMSG_CLOEXEC);
        if (size < 0 && errno == EINTR) return true;
        if (size <= 0) return false;
        int received[2] = {-1, -1};
        const cmsghdr* header = CMSG_FIRSTHDR(&message);
        if (header != nullptr && header->cmsg_type == SCM_RIGHTS) {
            std::memcpy(received, CMSG_DATA(header),
                        std::min<size_t>(header->cmsg_len - CMSG_LEN(0), sizeof received));
        }
        deliver_due();  // what has left before a request came isn't touched by it
        std::istringstream words(std::string(text, static_cast<size_t>(size)));
        const std::string reply = carry_out(words, received[0], received[1]);
        return ::send(control_, reply.data(), reply.size(), MSG_NOSIGNAL) >= 0;
    }

    std::string carry_out(std::istringstream& words, int tun, int network) {
        std::string verb;
        int index = 0;
        words >> verb;
        if (verb == "counters") return describe_counters();
        words >> index;
        if (verb == "host") return add_host(words, index, tun, network);
        const auto found = hosts_.find(index);
        if (found == hosts_.end()) return "error no host with this index";
        Host& host = *found->second;
        if (verb == "shape") return shape(words, host) ? "ok" : "error not a link";
        if (verb != "cut" && verb != "heal") return "error unknown request";
        std::string direction;
        words >> direction;
        if (direction != "up" && direction != "down" && direction != "both") return "error unknown direction";
        if (direction != "down") host.up.cut = verb == "cut";
        if (direction != "up") host.down.cut = verb == "cut";
        return "ok";
    }

    std::string add_host(std::istringstream& words, int index, int tun, int network) {
        struct stat status {};
        if (tun < 0 || network < 0 || fstat(network, &status) != 0) return "error two descriptors belong to a host";
        close(network);
        auto host = std::make_unique<Host>(tun, status.st_ino, mix(seed_) ^ static_cast<uint64_t>(index));
        if (hosts_.count(index) != 0 || !shape(words, *host)) {
            close(tun);
            return "error not a new host with a link";
        }
        hosts_.emplace(index, std::move(host));
        return "ok";
    }

    bool shape(std::istringstream& words, Host& host) {
        LinkSettings up, down;
        words >> up.delay >> up.jitter >> up.bits_per_second >> down.bits_per_second >> up.loss;
        if (words.fail() || up.delay < up.jitter || up.jitter < 0) return false;
        if (!(up.bits_per_second > 0 && down.bits_per_second > 0 && up.loss >= 0 && up.loss <= 1)) return false;
        down.delay = up.delay;
        down.jitter = up.jitter;
        down.loss = up.loss;
        host.up.shape(up);
        host.down.shape(down);
        least_down_delay_ = std::min(least_down_delay_, down.delay - down.jitter);
        return true;
    }

    std::string describe_counters() const {
        std::ostringstream text;
        text << "ok";
        for (const auto& [index, host] : hosts_) {
            for (const Pipe* pipe : {&host->up, &host->down}) {
                const Counters& counted = pipe->counters;
                text << '\n'
                     << index << (pipe->is_up ? " up " : " down ") << counted.packets << ' ' << counted.bytes
                     << ' ' << counted.lost << ' ' << counted.overflowed << ' ' << counted.cut << ' '
                     << counted.unroutable;
            }
        }
        return text.str();
    }

    const int control_;
    const pid_t lab_ = getppid();
    const uint64_t seed_;
    const Nanoseconds started_;
    uint64_t order_ = 0;
    std::map<int, std::unique_ptr<Host>> hosts_;  // by the last two bytes of the address
    Heads up_heads_, down_heads_;  // one for each pipe in use
    Nanoseconds least_down_delay_ = kForever;
    std::vector<pollfd> polled_;
    PacketPool pool_;
};

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

int sweep_files(int count, char** files) {
    std::set<ino_t> networks;
    for (int index = 0; index < count; ++index) {
        struct stat status {};
        if (stat(files[index], &status) == 0) networks.insert(status.st_ino);
    }
    sweep(networks, getppid());
    return 0;
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
