#include "common/host_lookup.h"

#include "common/error.h"
#include "common/pause.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netdb.h>
#include <sys/socket.h>

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <string_view>
#include <thread>
#include <utility>

namespace nabla {

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kAskAgain{500};

bool is_number(const std::string& host) {
  in6_addr number{};
  return ::inet_pton(AF_INET, host.c_str(), &number) == 1 || ::inet_pton(AF_INET6, host.c_str(), &number) == 1;
}

std::string without_brackets(const std::string& host) {
  return host.starts_with('[') && host.ends_with(']') ? host.substr(1, host.size() - 2) : host;
}

// Outlives whoever gave up waiting for it.
struct Answer {
  std::mutex mutex;
  std::condition_variable_any changed;
  bool done = false;  // guarded by mutex, as what follows
  std::vector<std::string> addresses;
  std::exception_ptr error;
};

void ask(const std::shared_ptr<Answer>& answer, const std::string& host, const HostLookup& look_up) {
  std::vector<std::string> addresses;
  std::exception_ptr error;
  try {
    addresses = look_up(host);
  } catch (...) {
    error = std::current_exception();
  }
  const std::lock_guard lock(answer->mutex);
  answer->done = true;
  answer->addresses = std::move(addresses);
  answer->error = error;
  answer->changed.notify_all();
}

}  // namespace

std::vector<std::string> look_up_host(const std::string& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int error = ::getaddrinfo(host.c_str(), nullptr, &hints, &found); error != 0)
    throw network_error("[network] cannot find the host '{}': {}", host, ::gai_strerror(error));
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, ::freeaddrinfo);
  std::vector<std::string> addresses;
  for (const int family : {AF_INET, AF_INET6}) {
    for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
      char text[NI_MAXHOST];
      if (one->ai_family != family || ::getnameinfo(one->ai_addr, one->ai_addrlen, text, sizeof text, nullptr, 0, NI_NUMERICHOST) != 0)
        continue;
      if (std::ranges::find(addresses, text) == addresses.end()) addresses.emplace_back(text);
    }
  }
  if (addresses.empty()) throw network_error("[network] the host '{}' has no address of the internet protocol", host);
  return addresses;
}

std::vector<std::string> addresses_of_host(const std::string& host, milliseconds deadline, const std::stop_token& stop,
                                           const HostLookup& look_up) {
  if (is_number(host)) return {host};
  const auto answer = std::make_shared<Answer>();
  // Nothing can end a question to the name service, so the thread is left alone with it.
  std::thread(ask, answer, host, look_up).detach();
  std::unique_lock lock(answer->mutex);
  answer->changed.wait_for(lock, stop, deadline, [&] { return answer->done; });
  if (answer->error) std::rethrow_exception(answer->error);
  if (answer->done) return answer->addresses;
  if (stop.stop_requested()) throw failure("[network] stopped while the name service was asked for the host '{}'", host);
  throw network_error("[network] the name service did not say within {} ms where the host '{}' is", deadline.count(), host);
}

std::string with_numeric_host(const std::string& address, milliseconds deadline, const std::stop_token& stop, const HostLookup& look_up) {
  constexpr std::string_view kScheme = "tcp://";
  const std::size_t colon = address.rfind(':');
  if (!address.starts_with(kScheme) || colon <= kScheme.size()) return address;
  const std::string host = without_brackets(address.substr(kScheme.size(), colon - kScheme.size()));
  if (is_number(host)) return address;
  const auto give_up = steady_clock::now() + deadline;
  while (true) {
    const auto left = std::chrono::ceil<milliseconds>(give_up - steady_clock::now());
    try {
      const std::string number = addresses_of_host(host, std::max(left, milliseconds(1)), stop, look_up).front();
      return fmt::format("{}{}{}", kScheme, number.find(':') == std::string::npos ? number : fmt::format("[{}]", number),
                         address.substr(colon));
    } catch (const Error& error) {
      if (error.code() != ExitCode::kNetwork || steady_clock::now() + kAskAgain >= give_up) throw;
    }
    pause_until(steady_clock::now() + kAskAgain, stop);
  }
}

}  // namespace nabla
