#include "launch/signals.h"

#include "common/error.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

namespace nabla {

namespace {

sigset_t stop_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGUSR1);
  return set;
}

}  // namespace

StopSignals::StopSignals() {
  const sigset_t set = stop_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  // A file size limit then shows as a write error, which names the file, instead of killing the process.
  std::signal(SIGXFSZ, SIG_IGN);
  signal_fd_ = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  wake_fd_ = eventfd(0, EFD_CLOEXEC);
  if (signal_fd_ < 0 || wake_fd_ < 0) throw failure("[signals] cannot listen for signals (out of file descriptors?)");
  listener_ = std::thread([this] { listen(); });
}

StopSignals::~StopSignals() {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(wake_fd_, &one, sizeof one);
  listener_.join();
  ::close(signal_fd_);
  ::close(wake_fd_);
}

void StopSignals::listen() {
  while (true) {
    pollfd descriptors[2] = {{signal_fd_, POLLIN, 0}, {wake_fd_, POLLIN, 0}};
    ::poll(descriptors, 2, -1);
    if (descriptors[1].revents != 0) return;
    signalfd_siginfo info{};
    while (::read(signal_fd_, &info, sizeof info) == sizeof info) {
      const auto number = static_cast<int>(info.ssi_signo);
      if (source_.stop_requested() && number != SIGUSR1) std::_Exit(128 + number);
      source_.request_stop();
    }
  }
}

}  // namespace nabla
