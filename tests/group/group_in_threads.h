#pragma once

#include "learner/group/gloo_process_group.h"
#include "learner/group/rendezvous_socket.h"
#include "tests/group/thread_process_group.h"

#include <functional>
#include <string>
#include <thread>
#include <vector>

namespace nabla {

// Runs `work` once a rank, each in a thread; what a rank threw, or "".
inline std::vector<std::string> in_threads(int size, const std::function<void(int)>& work) {
  std::vector<std::string> errors(static_cast<std::size_t>(size));
  std::vector<std::jthread> threads;
  for (int rank = 0; rank < size; ++rank) {
    threads.emplace_back([rank, &work, &error = errors[static_cast<std::size_t>(rank)]] {
      try {
        work(rank);
      } catch (const std::exception& problem) {
        error = problem.what();
      }
    });
  }
  threads.clear();
  return errors;
}

// The same with the ranks of a thread-backed group.
inline std::vector<std::string> with_thread_group(int size, const std::function<void(ProcessGroup&)>& work) {
  const auto groups = make_thread_process_groups(size);
  return in_threads(size, [&](int rank) {
    ProcessGroup& group = *groups[static_cast<std::size_t>(rank)];
    abort_on_error(group, [&] { work(group); });
  });
}

// The same with Gloo, on loopback.
inline std::vector<std::string> with_gloo_group(int size, const std::function<void(ProcessGroup&)>& work) {
  RendezvousSocket socket("127.0.0.1", 0);
  GroupOptions options;
  options.size = size;
  options.port = socket.port();
  options.rendezvous_deadline_s = 20;
  const int listener = socket.release();
  return in_threads(size, [&](int rank) {
    GroupOptions own = options;
    own.rank = rank;
    if (rank == 0) own.listener = listener;
    GlooProcessGroup group(own);
    work(group);
  });
}

}  // namespace nabla
