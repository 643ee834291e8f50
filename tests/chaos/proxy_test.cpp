#include "tests/chaos/proxy.h"

#include "tests/testing.h"

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>

#include <algorithm>
#include <chrono>
#include <string>
#include <thread>

using namespace nabla::chaos;

namespace {

using boost::asio::ip::tcp;

// Two ends of a connection through a proxy.
struct Ends {
  explicit Ends(const LinkFaults& faults) : proxy(acceptor.local_endpoint().port(), 5), near(context), far(context) {
    proxy.set(faults);
    near.connect({boost::asio::ip::address_v4::loopback(), proxy.port()});
    acceptor.accept(far);
  }
  std::string pass(const std::string& text) {
    const std::jthread writer([&] { boost::asio::write(near, boost::asio::buffer(text)); });
    std::string received(text.size(), '\0');
    boost::asio::read(far, boost::asio::buffer(received));
    return received;
  }
  boost::asio::io_context context;
  tcp::acceptor acceptor{context, {boost::asio::ip::address_v4::loopback(), 0}};
  Proxy proxy;
  tcp::socket near, far;
};

}  // namespace

TEST_CASE("a proxy without faults passes what it gets") {
  Ends ends({});
  const std::string text(100'000, 'x');
  CHECK(ends.pass(text) == text);
  CHECK(ends.proxy.counts().bytes == 100'000);
  CHECK(ends.proxy.counts().connections == 1);
}

TEST_CASE("a proxy flips single bits about as often as it is told") {
  Ends ends({.flip_every = 10'000});
  const std::string text(1'000'000, '\0');
  const std::string received = ends.pass(text);
  const auto damaged = std::ranges::count_if(received, [](char c) { return c != '\0'; });
  CHECK(damaged == ends.proxy.counts().flips);
  CHECK(damaged > 20);
  CHECK(damaged < 200);
}

TEST_CASE("a slow proxy takes its time") {
  Ends ends({.delay = std::chrono::milliseconds(30)});
  const auto begin = std::chrono::steady_clock::now();
  CHECK(ends.pass("hello") == "hello");
  CHECK(std::chrono::steady_clock::now() - begin >= std::chrono::milliseconds(30));
  CHECK(ends.proxy.counts().held == 1);
}

TEST_CASE("a proxy counts what it throws away") {
  Ends ends({.swallow_up = true});
  boost::asio::write(ends.near, boost::asio::buffer(std::string(1000, 'x')));
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (ends.proxy.counts().swallowed < 1000 && std::chrono::steady_clock::now() < give_up) std::this_thread::yield();
  CHECK(ends.proxy.counts().swallowed == 1000);
  CHECK(ends.proxy.counts().bytes == 0);
}

TEST_CASE("a proxy that resets tears the connection in the middle") {
  Ends ends({.reset_every = 1});
  boost::asio::write(ends.near, boost::asio::buffer(std::string(1000, 'x')));
  std::string received(1000, '\0');
  boost::system::error_code error;
  const std::size_t count = boost::asio::read(ends.far, boost::asio::buffer(received), error);
  CHECK(error);
  CHECK(count <= 500);
}
