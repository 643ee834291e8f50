#include "launch/signals.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <pthread.h>

#include <csignal>
#include <cstdlib>
#include <thread>

namespace nabla {

namespace {

void set_mask(int how) {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGINT, SIGTERM, SIGUSR1}) sigaddset(&set, number);
  pthread_sigmask(how, &set, nullptr);
}

}  // namespace

// One thread takes the signals; all others block them, so that no system call of theirs is interrupted.
struct StopSignals::Listener {
  Listener(std::stop_source& source, std::stop_source& hurry, std::atomic<int>& first, SecondSignal second)
      : source_(source), hurry_(hurry), first_(first), second_(second), signals_(context_, SIGINT, SIGTERM, SIGUSR1) {
    wait();
    thread_ = std::thread([this] {
      set_mask(SIG_UNBLOCK);  // whoever makes this may block them already
      context_.run();
    });
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
      take(number);
      wait();
    });
  }

  void take(int number) {
    if (number == SIGINT) ++interrupts_;
    if (!source_.stop_requested()) {
      first_ = number;
      source_.request_stop();
      return;
    }
    if (number != SIGINT) return;
    const bool ends = second_ == SecondSignal::kEndsProcess ? interrupts_ > 1 : hurry_.stop_requested();
    if (ends) std::_Exit(128 + number);
    hurry_.request_stop();
  }

  std::stop_source &source_, &hurry_;
  std::atomic<int>& first_;
  const SecondSignal second_;
  int interrupts_ = 0;
  boost::asio::io_context context_;
  boost::asio::signal_set signals_;
  std::thread thread_;
};

StopSignals::StopSignals(SecondSignal second) : listener_(std::make_unique<Listener>(source_, hurry_, first_, second)) {
  set_mask(SIG_BLOCK);
  std::signal(SIGPIPE, SIG_IGN);
  // A file size limit then shows as a write error, which names the file, instead of killing the process.
  std::signal(SIGXFSZ, SIG_IGN);
}

StopSignals::~StopSignals() = default;

bool StopSignals::asks_requeue() const { return first_ == SIGUSR1; }

}  // namespace nabla
