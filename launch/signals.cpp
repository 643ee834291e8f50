#include "launch/signals.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <pthread.h>

#include <csignal>
#include <cstdlib>
#include <thread>

namespace nabla {

// One thread takes the signals; all others block them, so that no system call of theirs is interrupted.
struct StopSignals::Listener {
  explicit Listener(std::stop_source& source) : source_(source), signals_(context_, SIGINT, SIGTERM, SIGUSR1) {
    wait();
    thread_ = std::thread([this] { context_.run(); });
  }
  ~Listener() {
    context_.stop();
    thread_.join();
  }
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

 private:
  void wait() {
    signals_.async_wait([this](const boost::system::error_code& error, int number) {
      if (error) return;
      if (source_.stop_requested() && number != SIGUSR1) std::_Exit(128 + number);
      source_.request_stop();
      wait();
    });
  }

  std::stop_source& source_;
  boost::asio::io_context context_;
  boost::asio::signal_set signals_;
  std::thread thread_;
};

StopSignals::StopSignals() : listener_(std::make_unique<Listener>(source_)) {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGINT, SIGTERM, SIGUSR1}) sigaddset(&set, number);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  // A file size limit then shows as a write error, which names the file, instead of killing the process.
  std::signal(SIGXFSZ, SIG_IGN);
}

StopSignals::~StopSignals() = default;

}  // namespace nabla
