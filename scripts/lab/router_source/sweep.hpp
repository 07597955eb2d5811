// Kills the processes of a lab.

#pragma once

#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <set>
#include <string>

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.hpp"

// The target of a link in /proc; empty if it can't be read.
inline std::string link_target(const std::string& file) {
    char target[PATH_MAX];
    const ssize_t size = readlink(file.c_str(), target, sizeof target);
    return size < 0 ? "" : std::string(target, static_cast<size_t>(size));
}

enum class Entering { kNo, kPerhaps, kYes };

// Whether a process is `router enter` that hasn't become its program yet: it may not be in the network yet.
inline Entering is_entering(const std::string& process, const std::string& lab) {
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
// none. No other namespace can have the number of one of these: TUN devices, or descriptors of ours, keep them alive.
inline void sweep(const std::set<ino_t>& networks, pid_t lab) {
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

// `router sweep`: the networks are given as files.
inline int sweep_files(int count, char** files) {
    std::set<ino_t> networks;
    for (int index = 0; index < count; ++index) {
        struct stat status {};
        if (stat(files[index], &status) == 0) networks.insert(status.st_ino);
    }
    sweep(networks, getppid());
    return 0;
}
