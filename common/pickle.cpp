#include "common/pickle.h"

#include "common/error.h"
#include "common/utf8.h"

#include <array>
#include <bit>
#include <cstring>
#include <unordered_map>

namespace nabla {

namespace {

constexpr unsigned kProtocol = 2;
constexpr std::size_t kMaxDimensions = 64;

struct KnownGlobal {
  std::string_view name;
  PickleGlobal global;
};

constexpr PickleGlobal storage_of(DType dtype) { return {PickleGlobal::Role::kStorage, dtype}; }

constexpr std::array<KnownGlobal, 19> kGlobals{{
    {"collections.OrderedDict", {PickleGlobal::Role::kOrderedDict, {}}},
    {"torch._utils._rebuild_tensor_v2", {PickleGlobal::Role::kRebuildTensor, {}}},
    {"torch._utils._rebuild_parameter", {PickleGlobal::Role::kRebuildParameter, {}}},
    {"torch.storage.UntypedStorage", {PickleGlobal::Role::kStorage, {}}},
    {"torch.BoolStorage", storage_of(DType::kBool)},
    {"torch.ByteStorage", storage_of(DType::kU8)},
    {"torch.CharStorage", storage_of(DType::kI8)},
    {"torch.ShortStorage", storage_of(DType::kI16)},
    {"torch.IntStorage", storage_of(DType::kI32)},
    {"torch.LongStorage", storage_of(DType::kI64)},
    {"torch.HalfStorage", storage_of(DType::kF16)},
    {"torch.BFloat16Storage", storage_of(DType::kBF16)},
    {"torch.FloatStorage", storage_of(DType::kF32)},
    {"torch.DoubleStorage", storage_of(DType::kF64)},
    // The training state beside the weights in Stable Diffusion's published .ckpt files.
    {"pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint", {}},
    {"numpy.core.multiarray.scalar", {}},
    {"numpy._core.multiarray.scalar", {}},
    {"numpy.dtype", {}},
    {"_codecs.encode", {}},
}};

}  // namespace

class PickleMachine {
 public:
  PickleMachine(Pickle& pickle, std::string_view program, const std::string& source) : pickle_(pickle), rest_(program), source_(source) {}

  void run(std::size_t max_steps);

 private:
  template <class... Args>
  [[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) const {
    throw data_error("[torch] '{}': {}", source_, fmt::format(format, std::forward<Args>(args)...));
  }

  std::string_view take(std::size_t size) {
    if (size > rest_.size()) refuse("its pickle is cut short");
    const std::string_view taken = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return taken;
  }
  template <class T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  std::string_view line() {
    const std::size_t end = rest_.find('\n');
    if (end == std::string_view::npos) refuse("its pickle is cut short");
    const std::string_view text = take(end);
    take(1);
    return text;
  }
  std::string_view text(std::size_t size) {
    const std::string_view taken = take(size);
    if (!is_utf8(taken)) refuse("its pickle holds a text that is not UTF-8");
    return taken;
  }

  void push(PickleValue value) { stack_.push_back(std::move(value)); }
  PickleValue pop() {
    if (stack_.size() <= (marks_.empty() ? 0 : marks_.back())) refuse("its pickle takes more than it put down; it is damaged");
    PickleValue value = stack_.back();
    stack_.pop_back();
    return value;
  }
  template <class T>
  T pop_as(const char* wanted) {
    const PickleValue value = pop();
    if (!std::holds_alternative<T>(value)) refuse("its pickle has no {} where one is expected; it is damaged", wanted);
    return std::get<T>(value);
  }
  PickleItems pop_to_mark() {
    if (marks_.empty()) refuse("its pickle closes what it did not open; it is damaged");
    const auto begin = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    PickleItems items(begin, stack_.end());
    stack_.erase(begin, stack_.end());
    marks_.pop_back();
    return items;
  }
  void push_tuple(PickleItems items) { push(static_cast<const PickleItems*>(&pickle_.items_.emplace_back(std::move(items)))); }
  void push_tuple_of(int count);

  void step(unsigned char opcode);
  bool step_constant(unsigned char opcode);
  bool step_collection(unsigned char opcode);
  void set_items(const PickleItems& items);
  void memoize(std::uint32_t slot);
  void recall(std::uint32_t slot);
  std::int64_t long_integer();
  double big_endian_double();
  void push_global();
  void push_storage();
  void reduce();
  void build();
  PickleTensor tensor_of(const PickleItems& arguments) const;
  std::vector<std::int64_t> integers(const PickleValue& value) const;
  std::int64_t integer(const PickleValue& value) const;

  Pickle& pickle_;
  std::string_view rest_;
  const std::string& source_;
  std::vector<PickleValue> stack_;
  std::vector<std::size_t> marks_;
  std::unordered_map<std::uint32_t, PickleValue> memo_;
};

void PickleMachine::run(std::size_t max_steps) {
  for (std::size_t steps = 0;; ++steps) {
    if (steps == max_steps) refuse("its pickle goes on for more than {} steps, which no file of this size needs", max_steps);
    const auto opcode = static_cast<unsigned char>(take(1).front());
    if (opcode == '.') break;
    step(opcode);
  }
  pickle_.root_ = pop();
  if (!stack_.empty() || !rest_.empty()) refuse("its pickle goes on behind its end; it is damaged");
}

void PickleMachine::step(unsigned char opcode) {
  if (step_constant(opcode) || step_collection(opcode)) return;
  switch (opcode) {
    case 0x80:  // PROTO
      if (const auto version = number<std::uint8_t>(); version != kProtocol)
        refuse("it is pickled with protocol {}; torch.save writes {}", version, kProtocol);
      return;
    case 'q':
      return memoize(number<std::uint8_t>());  // BINPUT
    case 'r':
      return memoize(number<std::uint32_t>());  // LONG_BINPUT
    case 'h':
      return recall(number<std::uint8_t>());  // BINGET
    case 'j':
      return recall(number<std::uint32_t>());  // LONG_BINGET
    case 'c':
      return push_global();  // GLOBAL
    case 'Q':
      return push_storage();  // BINPERSID
    case 'R':
      return reduce();  // REDUCE
    case 'b':
      return build();  // BUILD
    default:
      refuse("its pickle has the opcode 0x{:02x}, which files of tensors do not need; only plain tensors are read, nothing is run", opcode);
  }
}

bool PickleMachine::step_constant(unsigned char opcode) {
  switch (opcode) {
    case 'N':
      push(std::monostate());
      return true;  // NONE
    case 0x88:
      push(true);
      return true;  // NEWTRUE
    case 0x89:
      push(false);
      return true;  // NEWFALSE
    case 'J':
      push(static_cast<std::int64_t>(number<std::int32_t>()));
      return true;  // BININT
    case 'K':
      push(static_cast<std::int64_t>(number<std::uint8_t>()));
      return true;  // BININT1
    case 'M':
      push(static_cast<std::int64_t>(number<std::uint16_t>()));
      return true;  // BININT2
    case 0x8A:
      push(long_integer());
      return true;  // LONG1
    case 'G':
      push(big_endian_double());
      return true;  // BINFLOAT
    case 'X':
      push(text(number<std::uint32_t>()));
      return true;  // BINUNICODE
    case 'U':
      push(text(number<std::uint8_t>()));
      return true;  // SHORT_BINSTRING
    default:
      return false;
  }
}

bool PickleMachine::step_collection(unsigned char opcode) {
  switch (opcode) {
    case '(':
      marks_.push_back(stack_.size());
      return true;  // MARK
    case ')':
      push_tuple({});
      return true;  // EMPTY_TUPLE
    case 0x85:
      push_tuple_of(1);
      return true;  // TUPLE1
    case 0x86:
      push_tuple_of(2);
      return true;  // TUPLE2
    case 0x87:
      push_tuple_of(3);
      return true;  // TUPLE3
    case 't':
      push_tuple(pop_to_mark());
      return true;  // TUPLE
    case ']':
      push(&pickle_.items_.emplace_back());
      return true;  // EMPTY_LIST
    case '}':
      push(&pickle_.entries_.emplace_back());
      return true;  // EMPTY_DICT
    case 'u':
      set_items(pop_to_mark());
      return true;  // SETITEMS
    case 's': {     // SETITEM
      const PickleValue value = pop(), key = pop();
      set_items({key, value});
      return true;
    }
    case 'a': {  // APPEND
      const PickleValue value = pop();
      const auto list = pop_as<PickleItems*>("list");
      list->push_back(value);
      push(list);
      return true;
    }
    case 'e': {  // APPENDS
      const PickleItems values = pop_to_mark();
      const auto list = pop_as<PickleItems*>("list");
      list->insert(list->end(), values.begin(), values.end());
      push(list);
      return true;
    }
    default:
      return false;
  }
}

void PickleMachine::push_tuple_of(int count) {
  PickleItems items(static_cast<std::size_t>(count));
  for (auto item = items.rbegin(); item != items.rend(); ++item) *item = pop();
  push_tuple(std::move(items));
}

void PickleMachine::set_items(const PickleItems& items) {
  const auto entries = pop_as<PickleEntries*>("dict");
  if (items.size() % 2 != 0) refuse("its pickle sets a key without a value; it is damaged");
  for (std::size_t i = 0; i < items.size(); i += 2) entries->emplace_back(items[i], items[i + 1]);
  push(entries);
}

void PickleMachine::memoize(std::uint32_t slot) {
  const PickleValue value = pop();
  memo_[slot] = value;
  push(value);
}

void PickleMachine::recall(std::uint32_t slot) {
  const auto found = memo_.find(slot);
  if (found == memo_.end()) refuse("its pickle recalls slot {}, where nothing was kept; it is damaged", slot);
  push(found->second);
}

std::int64_t PickleMachine::long_integer() {
  const std::string_view bytes = take(number<std::uint8_t>());
  if (bytes.size() > sizeof(std::int64_t)) refuse("its pickle holds an integer of {} bytes; 8 are enough for any size", bytes.size());
  std::int64_t value = !bytes.empty() && (static_cast<unsigned char>(bytes.back()) & 0x80) != 0 ? -1 : 0;
  if (!bytes.empty()) std::memcpy(&value, bytes.data(), bytes.size());
  return value;
}

double PickleMachine::big_endian_double() { return std::bit_cast<double>(__builtin_bswap64(number<std::uint64_t>())); }

void PickleMachine::push_global() {
  const std::string_view module = line(), name = line();
  for (const KnownGlobal& known : kGlobals) {
    if (known.name.size() == module.size() + 1 + name.size() && known.name.starts_with(module) && known.name.ends_with(name) &&
        known.name[module.size()] == '.') {
      return push(known.global);
    }
  }
  refuse("it asks for the global '{}.{}', which files of tensors do not need. Nothing of the file was run; keep its state_dict alone",
         is_utf8(module) ? module : "?", is_utf8(name) ? name : "?");
}

// ("storage", type, key, device, count). The device does not matter: everything is read on the CPU.
void PickleMachine::push_storage() {
  const PickleValue id = pop();
  const auto* tuple = std::get_if<const PickleItems*>(&id);
  if (tuple == nullptr || (*tuple)->size() != 5) refuse("its pickle refers to something outside that is no storage");
  const PickleItems& parts = **tuple;
  const auto* kind = std::get_if<std::string_view>(&parts[0]);
  const auto* type = std::get_if<PickleGlobal>(&parts[1]);
  const auto* key = std::get_if<std::string_view>(&parts[2]);
  const auto* count = std::get_if<std::int64_t>(&parts[4]);
  if (kind == nullptr || *kind != "storage" || type == nullptr || type->role != PickleGlobal::Role::kStorage || key == nullptr ||
      count == nullptr) {
    refuse("its pickle refers to something outside that is no storage");
  }
  push(static_cast<const PickleStorage*>(&pickle_.storages_.emplace_back(PickleStorage{type->dtype, *key, *count})));
}

void PickleMachine::reduce() {
  const auto& arguments = *pop_as<const PickleItems*>("tuple of arguments");
  const auto global = pop_as<PickleGlobal>("global");
  switch (global.role) {
    case PickleGlobal::Role::kInert:
      return push(PickleInert());
    case PickleGlobal::Role::kOrderedDict:
      if (!arguments.empty()) refuse("its pickle makes an OrderedDict from {} arguments; torch.save gives none", arguments.size());
      return push(&pickle_.entries_.emplace_back());
    case PickleGlobal::Role::kRebuildTensor:
      pickle_.tensors_.push_back(tensor_of(arguments));
      return push(static_cast<const PickleTensor*>(&pickle_.tensors_.back()));
    case PickleGlobal::Role::kRebuildParameter:
      if (arguments.empty() || !std::holds_alternative<const PickleTensor*>(arguments[0]))
        refuse("its pickle makes a parameter of something that is no tensor");
      return push(arguments[0]);
    case PickleGlobal::Role::kStorage:
      refuse("its pickle calls a storage type, which files of tensors do not need");
  }
}

// What torch.save adds to a dict (_metadata of modules) says nothing about weights.
void PickleMachine::build() {
  pop();
  const PickleValue object = pop();
  if (!std::holds_alternative<PickleEntries*>(object) && !std::holds_alternative<PickleInert>(object))
    refuse("its pickle sets the state of something that is no dict; it is damaged");
  push(object);
}

// _rebuild_tensor_v2(storage, offset, shape, strides, requires_grad, hooks, ...)
PickleTensor PickleMachine::tensor_of(const PickleItems& arguments) const {
  if (arguments.size() < 4 || !std::holds_alternative<const PickleStorage*>(arguments[0]))
    refuse("its pickle makes a tensor without a storage; it is damaged");
  return {*std::get<const PickleStorage*>(arguments[0]), integer(arguments[1]), integers(arguments[2]), integers(arguments[3])};
}

std::vector<std::int64_t> PickleMachine::integers(const PickleValue& value) const {
  const auto* const* items = std::get_if<const PickleItems*>(&value);
  if (items == nullptr) refuse("its pickle has no tuple where a tensor's shape or strides are expected; it is damaged");
  if ((*items)->size() > kMaxDimensions)
    refuse("it holds a tensor of {} dimensions; at most {} are read", (*items)->size(), kMaxDimensions);
  std::vector<std::int64_t> numbers;
  for (const PickleValue& item : **items) numbers.push_back(integer(item));
  return numbers;
}

std::int64_t PickleMachine::integer(const PickleValue& value) const {
  if (!std::holds_alternative<std::int64_t>(value)) refuse("its pickle has no integer where one is expected; it is damaged");
  return std::get<std::int64_t>(value);
}

Pickle::Pickle(std::string_view program, const std::string& source, std::size_t max_steps) {
  PickleMachine(*this, program, source).run(max_steps);
}

}  // namespace nabla
