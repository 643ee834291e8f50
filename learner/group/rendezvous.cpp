#include "learner/group/rendezvous.h"

#include "common/error.h"
#include "learner/group/within.h"

#include <c10/util/Flags.h>
#include <c10/util/Logging.h>
#include <fmt/format.h>
#include <netdb.h>
#include <sys/socket.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <unistd.h>

#include <array>

C10_DECLARE_int(caffe2_log_level);

namespace nabla {

namespace {

using StorePointer = c10::intrusive_ptr<c10d::Store>;

StorePointer connect_store(const GroupOptions& options) {
  c10d::TCPStoreOptions store;
  store.port = options.port;
  store.isServer = options.rank == 0 && !options.store_of_launcher;
  store.waitWorkers = false;
  store.timeout = std::chrono::milliseconds(static_cast<std::int64_t>(options.rendezvous_deadline_s * 1000));
  if (store.isServer && options.listener >= 0) store.masterListenFd = options.listener;
  return c10::make_intrusive<c10d::TCPStore>(options.host, store);
}

// The first line of c10's errors; the others are a stack.
std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

StorePointer open_store(const GroupOptions& options) {
  const std::string place = fmt::format("{}:{}", options.host, options.port);
  const bool keeps = options.rank == 0 && !options.store_of_launcher;
  const std::string what = keeps ? fmt::format("rank 0 cannot keep the rendezvous at {}", place)
                                 : fmt::format("rank {} of {} finds {} not there, at {}", options.rank, options.size,
                                               options.store_of_launcher ? "the launcher's rendezvous" : "rank 0", place);
  try {
    return within(options.rendezvous_deadline_s + 1, what, [options] { return connect_store(options); });
  } catch (const Error&) {
    throw;
  } catch (const std::exception& problem) {
    throw network_error("[group] {}: {}", what, first_line(problem.what()));
  }
}

// This rank's claim; two processes with one rank, or groups of different sizes, would wait for each other until their deadlines.
void claim(const StorePointer& store, const GroupOptions& options) {
  const std::string size = std::to_string(options.size);
  const std::string agreed = static_cast<c10d::Store&>(*store).compareSet("size", std::string(), size);
  if (agreed != size)
    throw network_error("[group] rank {} is one of {} ranks, but at {}:{} {} ranks meet; give all of them the same number", options.rank,
                        size, options.host, options.port, agreed);
  if (store->add(fmt::format("claim/{}", options.rank), 1) > 1)
    throw network_error("[group] two processes say that they are rank {} of {}; give each a rank of its own", options.rank, options.size);
}

// The address that packets to the rendezvous leave from; nothing is sent. Loopback where that cannot be told.
std::string own_address_towards(const std::string& host, std::uint16_t port) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_DGRAM;
  if (getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found) != 0) return "127.0.0.1";
  std::string address = "127.0.0.1";
  const int socket_fd = socket(found->ai_family, SOCK_DGRAM, 0);
  sockaddr_storage name{};
  socklen_t length = sizeof(name);
  std::array<char, NI_MAXHOST> text{};
  if (socket_fd >= 0 && connect(socket_fd, found->ai_addr, found->ai_addrlen) == 0 &&
      getsockname(socket_fd, reinterpret_cast<sockaddr*>(&name), &length) == 0 &&
      getnameinfo(reinterpret_cast<sockaddr*>(&name), length, text.data(), text.size(), nullptr, 0, NI_NUMERICHOST) == 0)
    address = text.data();
  if (socket_fd >= 0) close(socket_fd);
  freeaddrinfo(found);
  return address;
}

}  // namespace

Rendezvous meet(const GroupOptions& options) {
  FLAGS_caffe2_log_level = c10::GLOG_ERROR;  // c10d warns of every connection that ends, with a stack; the watch says whose it was
  const StorePointer tcp = open_store(options);
  const std::string prefix = "nabla/" + options.session;
  const auto store = c10::make_intrusive<c10d::PrefixStore>(prefix, tcp);
  const std::string what =
      fmt::format("rank {} of {} asks the rendezvous at {}:{}", options.rank, options.size, options.host, options.port);
  const auto own_store = within(options.rendezvous_deadline_s, what, [store, tcp, prefix, options]() -> StorePointer {
    claim(store, options);
    return c10::make_intrusive<c10d::PrefixStore>(prefix, tcp->clone());
  });
  const std::string own_address =
      within(options.rendezvous_deadline_s, what, [options] { return own_address_towards(options.host, options.port); });
  Rendezvous rendezvous{store, std::make_shared<GroupWatch>(options, own_store), own_address};
  rendezvous.watch->wait_for_all();
  return rendezvous;
}

}  // namespace nabla
