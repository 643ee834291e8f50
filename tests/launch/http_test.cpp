#include "common/clock.h"
#include "launch/http/http_client.h"
#include "launch/http/http_server.h"
#include "tests/common/error_check.h"
#include "tests/common/temporary_folder.h"
#include "tests/testing.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <vector>

using namespace nabla;

namespace {

using std::chrono::milliseconds;
using namespace std::string_literals;

// More than any answer takes; nothing waits for a whole one unless it must.
constexpr milliseconds kLong{20'000};

HttpServerOptions options_in(const TemporaryFolder& folder) {
  HttpServerOptions options;
  options.routes = {{"GET", "/hello", [](const HttpRequest&) -> HttpResponse { return {.body = "hi\n"}; }},
                    {"GET", "/broken", [](const HttpRequest&) -> HttpResponse { throw std::runtime_error("it broke"); }},
                    {"POST", "/echo", [](const HttpRequest& request) -> HttpResponse {
                       return {.content_type = "text/x", .body = request.body + request.query.at("a") + request.query.at("b")};
                     }}};
  options.socket_path = folder.file("socket");
  options.request_deadline = kLong;
  return options;
}

std::string unix_address(const HttpServerOptions& options) { return "unix:" + options.socket_path; }

// A client that says what it is told to and waits for the server to hang up.
class RawClient {
 public:
  explicit RawClient(const std::string& path) : socket_(::socket(AF_UNIX, SOCK_STREAM, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
    REQUIRE(::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
  }
  explicit RawClient(std::uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
  }
  ~RawClient() { ::close(socket_); }
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  void say(const std::string& text) const { ::send(socket_, text.data(), text.size(), MSG_NOSIGNAL); }
  std::string hear() const {
    std::string heard;
    char buffer[4096];
    for (ssize_t size = ::recv(socket_, buffer, sizeof(buffer), 0); size > 0; size = ::recv(socket_, buffer, sizeof(buffer), 0))
      heard.append(buffer, static_cast<std::size_t>(size));
    return heard;
  }

 private:
  int socket_;
};

std::uint16_t tcp_port_of(const std::string& address) {
  return static_cast<std::uint16_t>(std::stoi(address.substr(address.rfind(':') + 1)));
}

std::size_t descriptors_of_this_process() {
  return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {}));
}

std::string answer_to(const HttpServerOptions& options, const std::string& text) {
  const RawClient client(options.socket_path);
  client.say(text);
  return client.hear();
}

}  // namespace

TEST_CASE("a request gets the answer of its route, over the socket and over TCP") {
  const TemporaryFolder folder;
  HttpServerOptions options = options_in(folder);
  options.tcp_address = "127.0.0.1:0";
  const HttpServer server(options);
  for (const auto& address : {unix_address(options), "http://" + server.tcp_address()}) {
    const HttpResponse answer = call_http(address, "GET", "/hello", kLong);
    CHECK(answer.status == 200);
    CHECK(answer.body == "hi\n");
    CHECK(answer.content_type == "text/plain; charset=utf-8");
  }
  CHECK(answer_to(options, "POST /echo?a=1&b=2 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc").ends_with("\r\n\r\nabc12"));
}

TEST_CASE("orders are taken over the socket alone") {
  const TemporaryFolder folder;
  HttpServerOptions options = options_in(folder);
  options.tcp_address = "127.0.0.1:0";
  const HttpServer server(options);
  CHECK(call_http(unix_address(options), "POST", "/echo?a=1&b=2", kLong).body == "12");
  CHECK(call_http("http://" + server.tcp_address(), "POST", "/echo?a=1&b=2", kLong).status == 404);
  CHECK(call_http("http://" + server.tcp_address(), "POST", "/hello", kLong).status == 405);
}

TEST_CASE("a request that no route takes is told why") {
  const TemporaryFolder folder;
  const HttpServerOptions options = options_in(folder);
  const HttpServer server(options);
  const HttpResponse unknown = call_http(unix_address(options), "GET", "/hallo", kLong);
  CHECK(unknown.status == 404);
  CHECK(unknown.body == "there is no /hallo; there are: /hello, /broken, /echo\n");
  const HttpResponse wrong = call_http(unix_address(options), "POST", "/hello", kLong);
  CHECK(wrong.status == 405);
  CHECK(wrong.body == "/hello takes GET, not POST\n");
  const HttpResponse broken = call_http(unix_address(options), "GET", "/broken", kLong);
  CHECK(broken.status == 500);
  CHECK(broken.body == "it broke\n");
}

TEST_CASE("what is no request, or too long a one, is refused, and the server goes on") {
  const TemporaryFolder folder;
  HttpServerOptions options = options_in(folder);
  options.max_header_bytes = 1024;
  options.max_body_bytes = 2048;
  const HttpServer server(options);
  const auto status_of = [&](const std::string& text) { return answer_to(options, text).substr(0, 12); };
  CHECK(status_of("what?\r\n\r\n") == "HTTP/1.1 400");
  CHECK(status_of("\0\xff\xfe garbage \r\n\r\n"s) == "HTTP/1.1 400");
  CHECK(status_of("GET /hello HTTP/1.1\r\nX: " + std::string(4096, 'x') + "\r\n\r\n") == "HTTP/1.1 431");
  CHECK(status_of("POST /echo HTTP/1.1\r\nContent-Length: 1000000000000\r\n\r\nx") == "HTTP/1.1 413");
  CHECK(status_of("POST /echo HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\nx") == "HTTP/1.1 400");
  CHECK(status_of("GET /hello HTTP/1.1\r\n\r\n") == "HTTP/1.1 200");
}

TEST_CASE("a client that never finishes its request is cut off at the deadline, and holds up nobody meanwhile") {
  const TemporaryFolder folder;
  HttpServerOptions options = options_in(folder);
  options.request_deadline = milliseconds(300);
  const HttpServer server(options);
  const double start = monotonic_seconds();
  const RawClient slow(options.socket_path);
  slow.say("GET /hello HT");
  CHECK(call_http(unix_address(options), "GET", "/hello", kLong).status == 200);
  CHECK(slow.hear().empty());
  CHECK(monotonic_seconds() - start >= 0.25);
}

TEST_CASE("connections beyond the most that are served at once are closed") {
  const TemporaryFolder folder;
  HttpServerOptions options = options_in(folder);
  options.max_connections = 2;
  const HttpServer server(options);
  {
    const RawClient first(options.socket_path), second(options.socket_path), third(options.socket_path);
    CHECK(third.hear().empty());
    first.say("GET /hello HTTP/1.1\r\n\r\n");
    CHECK(first.hear().ends_with("hi\n"));
  }
  // The server hears a little later that the second one has gone.
  std::string heard;
  for (const double give_up = monotonic_seconds() + 20; heard.empty() && monotonic_seconds() < give_up;)
    heard = answer_to(options, "GET /hello HTTP/1.1\r\n\r\n");
  CHECK(heard.ends_with("hi\n"));
}

TEST_CASE("strangers who fill the TCP door do not keep the owner out of the socket, and are cut off in the end") {
  const TemporaryFolder folder;
  HttpServerOptions options = options_in(folder);
  options.tcp_address = "127.0.0.1:0";
  options.max_connections = 4;
  options.request_deadline = milliseconds(1500);
  const HttpServer server(options);
  const std::size_t before = descriptors_of_this_process();
  std::vector<std::unique_ptr<RawClient>> strangers;
  for (int i = 0; i < 40; ++i) {
    strangers.push_back(std::make_unique<RawClient>(tcp_port_of(server.tcp_address())));
    strangers.back()->say("GET /hello HT");
  }
  for (std::size_t i = 4; i < strangers.size(); ++i) CHECK(strangers[i]->hear().empty());  // hung up on at once
  CHECK(descriptors_of_this_process() <= before + 40 + 4);                                 // our ends, and those that are served
  CHECK(call_http(unix_address(options), "POST", "/echo?a=1&b=2", kLong).body == "12");
  for (std::size_t i = 0; i < 4; ++i) CHECK(strangers[i]->hear().empty());
  CHECK(call_http("http://" + server.tcp_address(), "GET", "/hello", kLong).status == 200);
}

TEST_CASE("a client that does not read its answer is cut off at the deadline") {
  const TemporaryFolder folder;
  HttpServerOptions options = options_in(folder);
  // More than the kernel keeps for one who does not read.
  options.routes = {{"GET", "/long", [](const HttpRequest&) -> HttpResponse { return {.body = std::string(32 << 20, 'x')}; }},
                    {"GET", "/hello", [](const HttpRequest&) -> HttpResponse { return {.body = "hi\n"}; }}};
  options.max_connections = 1;
  options.request_deadline = milliseconds(300);
  const HttpServer server(options);
  const RawClient deaf(options.socket_path);
  deaf.say("GET /long HTTP/1.1\r\n\r\n");
  std::string heard;
  for (const double give_up = monotonic_seconds() + 20; heard.empty() && monotonic_seconds() < give_up;)
    heard = answer_to(options, "GET /hello HTTP/1.1\r\n\r\n");
  CHECK(heard.ends_with("hi\n"));
}

TEST_CASE("a server that ends hangs up and removes its socket") {
  const TemporaryFolder folder;
  const HttpServerOptions options = options_in(folder);
  auto server = std::make_unique<HttpServer>(options);
  const RawClient idle(options.socket_path);
  server.reset();
  CHECK(idle.hear().empty());
  CHECK_FALSE(std::filesystem::exists(options.socket_path));
}

TEST_CASE("an address that somebody else has is refused with its name") {
  const TemporaryFolder folder;
  HttpServerOptions options = options_in(folder);
  options.tcp_address = "127.0.0.1:0";
  const HttpServer server(options);
  HttpServerOptions second = options;
  second.socket_path.clear();
  second.tcp_address = server.tcp_address();
  check_error(
      ExitCode::kNetwork, [&] { HttpServer{second}; }, "cannot listen on " + server.tcp_address());
  options.tcp_address.clear();
  check_error(
      ExitCode::kNetwork, [&] { HttpServer{options}; }, options.socket_path);
  options.socket_path = "/tmp/" + std::string(200, 'x');
  check_error(
      ExitCode::kUsage, [&] { HttpServer{options}; }, "at most 107");
}

TEST_CASE("a call says whom it did not reach") {
  const TemporaryFolder folder;
  const std::string nobody = "unix:" + folder.file("nobody");
  check_error(
      ExitCode::kNetwork, [&] { call_http(nobody, "GET", "/hello", kLong); }, nobody);
  check_error(
      ExitCode::kUsage, [&] { call_http("ftp://x", "GET", "/hello", kLong); }, "ftp://x");

  HttpServerOptions options = options_in(folder);
  const int listener = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, options.socket_path.c_str(), sizeof(address.sun_path) - 1);
  REQUIRE(::bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
  REQUIRE(::listen(listener, 1) == 0);
  check_error(
      ExitCode::kNetwork, [&] { call_http(unix_address(options), "GET", "/hello", milliseconds(200)); }, "within 200 ms");
  ::close(listener);
}
