#pragma once

#include "launch/http/http_message.h"

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace nabla {

struct HttpServerOptions {
  std::vector<HttpRoute> routes;     // called from the server's one thread; they must not block for long
  std::string socket_path;           // a unix-domain socket that serves all routes: its folder's permissions say who may; empty: none
  std::string tcp_address;           // "<address>:<port>" serves the GET routes, and nothing else, to whoever reaches it; empty: none
  std::size_t max_connections = 64;  // of the socket and of TCP, each for itself; more are closed at once
  std::size_t max_header_bytes = 8192, max_body_bytes = 65536;
  std::chrono::milliseconds request_deadline{5000};  // from the connection to the last byte of the answer
};

// A small HTTP/1.1 server: one thread, one request a connection, everything bounded.
class HttpServer {
 public:
  // Listens when it returns. network_error naming the address that cannot be had.
  explicit HttpServer(const HttpServerOptions& options);
  // Breaks off what is under way and removes the socket.
  ~HttpServer();
  // "127.0.0.1:40123"; empty without TCP.
  const std::string& tcp_address() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace nabla
