#include "launch/http/http_server.h"

#include "common/error.h"
#include "common/log.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <sys/un.h>
#include <unistd.h>

#include <charconv>
#include <optional>
#include <thread>
#include <utility>

namespace nabla {

namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;
using asio::local::stream_protocol;
using boost::system::error_code;

constexpr std::chrono::milliseconds kAcceptAgain{100};

// What connections share; outlives them.
struct Service {
  const HttpServerOptions options;
  const std::vector<HttpRoute> read_only;
  // Of each door, so that who may knock at one only cannot shut the other.
  std::size_t num_local = 0, num_network = 0;
};

// One connection: reads one request, answers it, closes. Keeps itself alive by the handlers of what it waits for; the deadline is of the whole, so
// that dripping bytes buys no time.
template <class Protocol>
class Connection : public std::enable_shared_from_this<Connection<Protocol>> {
 public:
  Connection(typename Protocol::socket socket, const Service& service, std::size_t& num_connections, const std::vector<HttpRoute>& routes)
      : stream_(std::move(socket)),
        service_(service),
        num_connections_(num_connections),
        routes_(routes),
        buffer_(service.options.max_header_bytes + service.options.max_body_bytes) {
    ++num_connections_;
    parser_.header_limit(static_cast<std::uint32_t>(service.options.max_header_bytes));
    parser_.body_limit(service.options.max_body_bytes);
  }
  ~Connection() { --num_connections_; }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void serve() {
    stream_.expires_after(service_.options.request_deadline);
    http::async_read(stream_, buffer_, parser_, [self = this->shared_from_this()](error_code error, std::size_t) { self->answer(error); });
  }

 private:
  void answer(error_code error) {
    if (error == http::error::header_limit) return send({.status = 431, .body = "the header is too long\n"});
    if (error == http::error::body_limit) return send({.status = 413, .body = "the body is too long\n"});
    // Everything else of the parser's is a request that is none; errors of the socket have nobody to be told to.
    if (error && error != http::error::end_of_stream && error.category() == make_error_code(http::error::bad_method).category())
      return send({.status = 400, .body = "this is no HTTP request\n"});
    if (error) return;
    const auto& message = parser_.get();
    HttpRequest request = parse_target(std::string(message.method_string()), std::string(message.target()));
    request.body = message.body();
    send(route_request(routes_, request));
  }

  void send(HttpResponse content) {
    response_.result(static_cast<unsigned>(content.status));
    response_.set(http::field::content_type, content.content_type);
    response_.set(http::field::cache_control, "no-store");
    response_.keep_alive(false);
    response_.body() = std::move(content.body);
    response_.prepare_payload();
    http::async_write(stream_, response_, [self = this->shared_from_this()](error_code, std::size_t) { self->close(); });
  }

  void close() {
    error_code ignored;
    stream_.socket().shutdown(asio::socket_base::shutdown_send, ignored);
  }

  beast::basic_stream<Protocol> stream_;
  const Service& service_;
  std::size_t& num_connections_;  // of its door
  const std::vector<HttpRoute>& routes_;
  beast::flat_buffer buffer_;
  http::request_parser<http::string_body> parser_;
  http::response<http::string_body> response_;
};

// Accepts connections of one kind until its context stops.
template <class Protocol>
class Door {
 public:
  // `num_connections` outlives the connections.
  Door(asio::io_context& context, const Service& service, std::size_t& num_connections, const std::vector<HttpRoute>& routes,
       const typename Protocol::endpoint& endpoint)
      : acceptor_(context, endpoint), pause_(context), service_(service), num_connections_(num_connections), routes_(routes) {
    accept();
  }
  typename Protocol::endpoint endpoint() const { return acceptor_.local_endpoint(); }

 private:
  void accept() {
    acceptor_.async_accept([this](error_code error, typename Protocol::socket socket) {
      if (error == asio::error::operation_aborted) return;
      if (error) return accept_later();  // no descriptors left, such as
      if (num_connections_ < service_.options.max_connections) {
        std::make_shared<Connection<Protocol>>(std::move(socket), service_, num_connections_, routes_)->serve();
      }
      accept();
    });
  }

  void accept_later() {
    pause_.expires_after(kAcceptAgain);
    pause_.async_wait([this](error_code error) {
      if (!error) accept();
    });
  }

  typename Protocol::acceptor acceptor_;
  asio::steady_timer pause_;
  const Service& service_;
  std::size_t& num_connections_;
  const std::vector<HttpRoute>& routes_;
};

std::vector<HttpRoute> reading(const std::vector<HttpRoute>& routes) {
  std::vector<HttpRoute> some;
  for (const HttpRoute& route : routes) {
    if (route.method == "GET") some.push_back(route);
  }
  return some;
}

stream_protocol::endpoint local_endpoint(const std::string& path) {
  if (path.size() >= sizeof(sockaddr_un::sun_path)) {
    throw usage_error("[http] the socket's path '{}' has {} bytes; at most {} are possible", path, path.size(),
                      sizeof(sockaddr_un::sun_path) - 1);
  }
  return {path};
}

tcp::endpoint tcp_endpoint(const std::string& address) {
  const std::size_t colon = address.rfind(':');
  std::string host = address.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  std::uint16_t port = 0;
  const char* end = address.data() + address.size();
  error_code error;
  const auto ip = asio::ip::make_address(host, error);
  if (colon == std::string::npos || error || std::from_chars(address.data() + colon + 1, end, port).ptr != end) {
    throw usage_error("[http] '{}' is no address; <address>:<port> is expected, such as 127.0.0.1:9464", address);
  }
  return {ip, port};
}

std::string text_of(const tcp::endpoint& endpoint) {
  const std::string host = endpoint.address().to_string();
  return fmt::format("{}:{}", endpoint.address().is_v6() ? fmt::format("[{}]", host) : host, endpoint.port());
}

}  // namespace

struct HttpServer::Impl {
  explicit Impl(const HttpServerOptions& options) : service{.options = options, .read_only = reading(options.routes)} {
    open(fmt::format("socket {}", options.socket_path), [&] {
      if (!options.socket_path.empty())
        local.emplace(context, service, service.num_local, service.options.routes, local_endpoint(options.socket_path));
    });
    open(options.tcp_address, [&] {
      if (options.tcp_address.empty()) return;
      network.emplace(context, service, service.num_network, service.read_only, tcp_endpoint(options.tcp_address));
      tcp_address = text_of(network->endpoint());
    });
    thread = std::thread([this] { context.run(); });
  }
  ~Impl() {
    context.stop();
    thread.join();
    if (!service.options.socket_path.empty()) ::unlink(service.options.socket_path.c_str());
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  template <class Open>
  static void open(const std::string& address, Open open_it) try {
    open_it();
  } catch (const boost::system::system_error& error) {
    throw network_error("[http] cannot listen on {}: {}", address, error.code().message());
  }

  Service service;
  asio::io_context context;  // destroyed before what its handlers use
  std::optional<Door<stream_protocol>> local;
  std::optional<Door<tcp>> network;
  std::string tcp_address;
  std::thread thread;
};

HttpServer::HttpServer(const HttpServerOptions& options) : impl_(std::make_unique<Impl>(options)) {}

HttpServer::~HttpServer() = default;

const std::string& HttpServer::tcp_address() const { return impl_->tcp_address; }

}  // namespace nabla
