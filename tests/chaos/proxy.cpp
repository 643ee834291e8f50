#include "tests/chaos/proxy.h"

#include "common/error.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>

#include <unistd.h>

#include <array>
#include <atomic>
#include <mutex>
#include <random>
#include <thread>

namespace nabla::chaos {

namespace {

using boost::asio::ip::tcp;
using boost::system::error_code;
using std::chrono::milliseconds;

const auto kLoopback = boost::asio::ip::address_v4::loopback();
constexpr milliseconds kLookAgain{10};

// What all links of a proxy share; used by its thread, but for the counts.
struct Shared {
  LinkFaults faults;
  std::mt19937_64 random;
  std::atomic<std::int64_t> connections{0}, bytes{0}, flips{0}, resets{0}, held{0}, swallowed{0};

  // Whether something that happens once in `every` bytes happens in one of `count`.
  bool happens(std::int64_t every, std::size_t count) {
    if (every <= 0) return false;
    return std::uniform_real_distribution<>()(random) * static_cast<double>(every) < static_cast<double>(count);
  }
};

// One connection through the proxy: a pipe each way. Lives as long as a handler of it is pending.
class Link : public std::enable_shared_from_this<Link> {
 public:
  Link(boost::asio::io_context& context, tcp::socket client, Shared& shared)
      : client_(std::move(client)), server_(context), up_(context, true), down_(context, false), shared_(shared) {}

  void start(std::uint16_t target_port) {
    server_.async_connect({kLoopback, target_port}, [self = shared_from_this()](error_code error) {
      if (error) return self->close();
      self->read(self->up_);
      self->read(self->down_);
    });
  }

 private:
  struct Pipe {
    Pipe(boost::asio::io_context& context, bool is_up) : timer(context), up(is_up) {}
    boost::asio::steady_timer timer;
    bool up;
    std::array<char, 16384> buffer;
    std::size_t count = 0;
    bool waits = false;  // what it holds has waited
  };
  tcp::socket& from(const Pipe& pipe) { return pipe.up ? client_ : server_; }
  tcp::socket& to(const Pipe& pipe) { return pipe.up ? server_ : client_; }

  void read(Pipe& pipe) {
    from(pipe).async_read_some(boost::asio::buffer(pipe.buffer),
                               [this, &pipe, self = shared_from_this()](error_code error, std::size_t count) {
                                 if (error) return close();
                                 pipe.count = count;
                                 pass_later(pipe);
                               });
  }

  // Waits as long as the link takes; a pipe holds one buffer at a time, so that a slow link slows its sender.
  void pass_later(Pipe& pipe) {
    const LinkFaults& faults = shared_.faults;
    auto wait = faults.delay;
    if (faults.bytes_per_s > 0) wait += milliseconds(static_cast<std::int64_t>(pipe.count) * 1000 / faults.bytes_per_s);
    if (faults.down) wait = kLookAgain;
    if (wait.count() == 0) return pass(pipe);
    if (!pipe.waits) ++shared_.held;
    pipe.waits = true;
    pipe.timer.expires_after(wait);
    pipe.timer.async_wait([this, &pipe, again = faults.down, self = shared_from_this()](error_code error) {
      if (error) return close();
      return again ? pass_later(pipe) : pass(pipe);
    });
  }

  void pass(Pipe& pipe) {
    const LinkFaults& faults = shared_.faults;
    pipe.waits = false;
    if (pipe.up ? faults.swallow_up : faults.swallow_down) {
      shared_.swallowed += static_cast<std::int64_t>(pipe.count);
      return read(pipe);
    }
    shared_.bytes += static_cast<std::int64_t>(pipe.count);
    if (shared_.happens(faults.flip_every, pipe.count)) {
      pipe.buffer[shared_.random() % pipe.count] ^= static_cast<char>(1U << (shared_.random() % 8));
      ++shared_.flips;
    }
    const bool reset = shared_.happens(faults.reset_every, pipe.count);
    if (reset) pipe.count /= 2;
    boost::asio::async_write(to(pipe), boost::asio::buffer(pipe.buffer.data(), pipe.count),
                             [this, &pipe, reset, self = shared_from_this()](error_code error, std::size_t) {
                               if (error) return close();
                               if (!reset) return read(pipe);
                               ++shared_.resets;
                               tear();
                             });
  }

  // Closed with a reset: what is still on its way is lost.
  void tear() {
    error_code ignored;
    for (tcp::socket* socket : {&client_, &server_}) socket->set_option(boost::asio::socket_base::linger(true, 0), ignored);
    close();
  }

  void close() {
    error_code ignored;
    for (tcp::socket* socket : {&client_, &server_}) socket->close(ignored);
    up_.timer.cancel(ignored);
    down_.timer.cancel(ignored);
  }

  tcp::socket client_, server_;
  Pipe up_, down_;
  Shared& shared_;
};

}  // namespace

struct Proxy::Impl {
  Impl(std::uint16_t target, std::uint64_t seed) : target_port(target), acceptor(context, {kLoopback, 0}) { shared.random.seed(seed); }

  void accept() {
    acceptor.async_accept([this](error_code error, tcp::socket client) {
      if (error) return;
      if (!shared.faults.down) {
        ++shared.connections;
        error_code ignored;
        client.set_option(tcp::no_delay(true), ignored);
        std::make_shared<Link>(context, std::move(client), shared)->start(target_port);
      }
      accept();
    });
  }

  const std::uint16_t target_port;
  Shared shared;
  boost::asio::io_context context;
  tcp::acceptor acceptor;
  std::jthread thread;
};

Proxy::Proxy(std::uint16_t target_port, std::uint64_t seed) try : impl_(std::make_unique<Impl>(target_port, seed)) {
  impl_->accept();
  impl_->thread = std::jthread([this] { impl_->context.run(); });
} catch (const boost::system::system_error& error) {
  throw network_error("[chaos] no proxy: {}", error.what());
}

Proxy::~Proxy() { impl_->context.stop(); }

std::uint16_t Proxy::port() const { return impl_->acceptor.local_endpoint().port(); }

void Proxy::set(const LinkFaults& faults) {
  boost::asio::post(impl_->context, [this, faults] { impl_->shared.faults = faults; });
}

LinkCounts Proxy::counts() const {
  const Shared& shared = impl_->shared;
  return {shared.connections, shared.bytes, shared.flips, shared.resets, shared.held, shared.swallowed};
}

// Not one of those that the system gives to connections: while the learner is away, a connection to its port could be given that very port and talk to itself.
std::uint16_t free_port() {
  constexpr int kFirst = 20'000, kCount = 12'000;
  static std::atomic<int> tried{static_cast<int>(::getpid()) * 7};
  boost::asio::io_context context;
  for (int i = 0; i < kCount; ++i) {
    const auto port = static_cast<std::uint16_t>(kFirst + tried++ % kCount);
    tcp::acceptor acceptor(context);
    error_code error;
    acceptor.open(tcp::v4(), error);
    if (!error) acceptor.bind({kLoopback, port}, error);
    if (!error) return port;
  }
  throw network_error("[chaos] no port of {} to {} is free", kFirst, kFirst + kCount - 1);
}

}  // namespace nabla::chaos
