#pragma once

#include <memory>
#include <string>
#include <vector>

namespace nabla::chaos {

// A network namespace with a cable to this one, for the actors of a run.
class ActorNamespace {
 public:
  // Null where this process may not make one; `why` says why.
  static std::unique_ptr<ActorNamespace> make(std::string& why);
  ~ActorNamespace();
  ActorNamespace(const ActorNamespace&) = delete;
  ActorNamespace& operator=(const ActorNamespace&) = delete;

  // The learner's address on the cable.
  std::string address() const;
  // The words before a command that is to run inside.
  std::vector<std::string> prefix() const;
  void set_cable(bool up);

 private:
  explicit ActorNamespace(int number) : number_(number) {}
  std::string name() const;
  std::string cable() const;
  int number_;
};

}  // namespace nabla::chaos
