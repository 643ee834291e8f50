#pragma once

#include "common/dtype.h"

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace nabla {

struct PickleValue;
using PickleItems = std::vector<PickleValue>;                            // of a tuple or a list
using PickleEntries = std::vector<std::pair<PickleValue, PickleValue>>;  // of a dict, in the order they were set

// Raw numbers that stand elsewhere, under `key`.
struct PickleStorage {
  std::optional<DType> dtype;  // none: untyped bytes
  std::string_view key;
  std::int64_t count = 0;
};

struct PickleTensor {
  PickleStorage storage;
  std::int64_t offset = 0;  // elements into the storage
  std::vector<std::int64_t> shape, strides;
};

// A name of Python that torch.save writes. `kInert` are classes around a checkpoint that are passed over: they hold no weights.
struct PickleGlobal {
  enum class Role { kOrderedDict, kRebuildTensor, kRebuildParameter, kStorage, kInert };
  Role role = Role::kInert;
  std::optional<DType> dtype;  // of a kStorage
};

struct PickleInert {};

struct PickleValue : std::variant<std::monostate, bool, std::int64_t, double, std::string_view, const PickleItems*, PickleItems*,
                                  PickleEntries*, PickleGlobal, const PickleStorage*, const PickleTensor*, PickleInert> {
  using variant::variant;
};

// The data that a pickle of protocol 2 describes. A pickle is a program; this machine has no instruction that imports or calls anything. It builds plain
// values, knows by name the few globals that torch.save needs, and refuses any other global and any other opcode by name (data_error with `source`).
// Texts are views of `program`.
class Pickle {
 public:
  // A program of more than max_steps opcodes is refused: the memory that is taken stays under 128 bytes an opcode.
  Pickle(std::string_view program, const std::string& source, std::size_t max_steps);

  const PickleValue& root() const { return root_; }

 private:
  friend class PickleMachine;
  // Values point into these, whose elements stay where they are. Nothing owns another: a deep nest is freed without recursion.
  std::deque<PickleItems> items_;
  std::deque<PickleEntries> entries_;
  std::deque<PickleStorage> storages_;
  std::deque<PickleTensor> tensors_;
  PickleValue root_;
};

}  // namespace nabla
