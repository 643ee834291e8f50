#include "launch/http/http_client.h"

#include "common/error.h"
#include "common/host_lookup.h"

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <vector>

namespace nabla {

namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;
using asio::local::stream_protocol;
using boost::system::error_code;

constexpr std::size_t kMaxAnswer = std::size_t{16} << 20;

// One exchange; its stream's deadline covers the whole of it.
template <class Protocol>
class Exchange {
 public:
  Exchange(asio::io_context& context, const std::string& host, const std::string& method, const std::string& target) : stream_(context) {
    request_.version(11);
    request_.method_string(method);
    request_.target(target);
    request_.set(http::field::host, host);
    request_.keep_alive(false);
    request_.prepare_payload();
    parser_.body_limit(kMaxAnswer);
  }

  template <class Endpoints>
  void start(const Endpoints& endpoints, std::chrono::milliseconds deadline) {
    stream_.expires_after(deadline);
    stream_.async_connect(endpoints, [this](error_code error, const auto&...) { go_on(error, [this] { write(); }); });
  }

  error_code error() const { return error_; }
  HttpResponse answer() const {
    const auto& message = parser_.get();
    return {static_cast<int>(message.result_int()), std::string(message[http::field::content_type]), message.body()};
  }

 private:
  template <class Next>
  void go_on(error_code error, Next next) {
    error_ = error;
    if (!error) next();
  }
  void write() {
    http::async_write(stream_, request_, [this](error_code error, std::size_t) { go_on(error, [this] { read(); }); });
  }
  void read() {
    http::async_read(stream_, buffer_, parser_, [this](error_code error, std::size_t) { error_ = error; });
  }

  beast::basic_stream<Protocol> stream_;
  http::request<http::string_body> request_;
  beast::flat_buffer buffer_;
  http::response_parser<http::string_body> parser_;
  error_code error_;
};

template <class Protocol, class Endpoints>
HttpResponse exchange(const std::string& address, const std::string& host, const Endpoints& endpoints, const std::string& method,
                      const std::string& target, std::chrono::milliseconds deadline) {
  asio::io_context context;
  Exchange<Protocol> exchange(context, host, method, target);
  exchange.start(endpoints, deadline);
  context.run();
  if (exchange.error() == beast::error::timeout) throw network_error("[http] no answer from {} within {} ms", address, deadline.count());
  if (exchange.error()) throw network_error("[http] no answer from {}: {}", address, exchange.error().message());
  return exchange.answer();
}

std::uint16_t port_in(const std::string& authority) {
  const char *first = authority.data() + authority.rfind(':') + 1, *end = authority.data() + authority.size();
  std::uint16_t port = 0;
  const auto [rest, error] = std::from_chars(first, end, port);
  if (error != std::errc{} || rest != end) throw usage_error("[http] '{}' has no port", authority);
  return port;
}

}  // namespace

HttpResponse call_http(const std::string& address, const std::string& method, const std::string& target,
                       std::chrono::milliseconds deadline) {
  if (address.starts_with("unix:")) {
    return exchange<stream_protocol>(address, "localhost", stream_protocol::endpoint(address.substr(5)), method, target, deadline);
  }
  const std::string authority = address.starts_with("http://") ? address.substr(7, address.find('/', 7) - 7) : "";
  const std::size_t colon = authority.rfind(':');
  if (authority.empty() || colon == std::string::npos)
    throw usage_error("[http] '{}' is no address; http://<host>:<port> is expected", address);
  std::string host = authority.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  const auto start = std::chrono::steady_clock::now();
  std::vector<tcp::endpoint> found;
  for (const auto& number : addresses_of_host(host, deadline)) found.emplace_back(asio::ip::make_address(number), port_in(authority));
  const auto left = deadline - std::chrono::ceil<std::chrono::milliseconds>(std::chrono::steady_clock::now() - start);
  return exchange<tcp>(address, authority, found, method, target, std::max(left, std::chrono::milliseconds(1)));
}

}  // namespace nabla
