#include "launch/python_config.h"

#include "common/error.h"
#include "common/files.h"
#include "launch/python_expressions.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>

namespace nabla {

namespace {

constexpr std::size_t kMaxPythonBytes = std::size_t{1} << 20;
constexpr int kMaxCallDepth = 8, kMaxCalls = 1000, kMaxGroupDepth = 4;

struct Node;

// What a name or a setting holds: a literal as text, or a group of settings.
struct Value {
  std::string literal;
  std::shared_ptr<Node> group;  // null for a literal
  std::string place;
};

struct Node {
  std::vector<std::pair<std::string, Value>> items;

  Value* find(const std::string& name) {
    const auto found = std::find_if(items.begin(), items.end(), [&](const auto& item) { return item.first == name; });
    return found == items.end() ? nullptr : &found->second;
  }
  void set(const std::string& name, Value value) {
    if (Value* old = find(name))
      *old = std::move(value);
    else
      items.emplace_back(name, std::move(value));
  }
};

// Thrown inside for what is passed over.
struct NotFollowed : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Function {
  std::size_t first, last;  // lines of its body
  bool takes_arguments;
};

struct Import {
  std::string module, name;  // name empty: the module itself
};

struct Module {
  std::string path;
  std::vector<PythonLine> lines;
  std::map<std::string, Function> functions;
  std::vector<std::string> function_order;
  std::map<std::string, Import> imports;
  Node globals;
};

class Reader {
 public:
  explicit Reader(PythonConfig& result) : result_(result) {}

  Module& load(const std::string& path) {
    auto& module = modules_[path];
    if (module) return *module;
    module = std::make_unique<Module>();
    module->path = path;
    module->lines = split_python(read_file(path, kMaxPythonBytes), path);
    find_functions(*module);
    run(*module, 0, module->lines.size(), module->globals, 0);
    return *module;
  }

  // The group that a function builds.
  Value call(Module& module, const std::string& name, int depth) {
    if (depth > kMaxCallDepth || ++num_calls_ > kMaxCalls) throw NotFollowed("too many calls, or functions that call each other");
    const Function& function = module.functions.at(name);
    if (function.takes_arguments) throw NotFollowed(name + "() takes arguments");
    Node locals;
    if (const auto returned = run(module, function.first, function.last, locals, depth)) return *returned;
    throw NotFollowed(name + "() returns nothing that can be followed");
  }

 private:
  static std::string place(const Module& module, const PythonLine& line) { return fmt::format("{}:{}", module.path, line.number); }

  void skip(const Module& module, const PythonLine& line, const std::string& what) {
    result_.skipped.push_back(fmt::format("{}: {}: {}", place(module, line), source_text(line.tokens), what));
  }

  static std::size_t block_end(const std::vector<PythonLine>& lines, std::size_t header) {
    std::size_t end = header + 1;
    while (end < lines.size() && lines[end].indent > lines[header].indent) ++end;
    return end;
  }

  static void find_functions(Module& module) {
    for (std::size_t i = 0; i < module.lines.size(); ++i) {
      const auto& tokens = module.lines[i].tokens;
      if (!tokens[0].is("def") || tokens.size() < 5) continue;
      module.functions[tokens[1].text] = {i + 1, block_end(module.lines, i), !tokens[3].is(")")};
      module.function_order.push_back(tokens[1].text);
    }
  }

  // Runs lines [first, last); returns what they return.
  std::optional<Value> run(Module& module, std::size_t first, std::size_t last, Node& names, int depth) {
    static const std::set<std::string> blocks{"if",     "elif",    "else", "for",   "while", "try",
                                              "except", "finally", "with", "class", "def",   "async"};
    for (std::size_t i = first; i < last;) {
      const PythonLine& line = module.lines[i];
      const std::string head = line.tokens[0].kind == PythonToken::Kind::kName ? line.tokens[0].text : "";
      const bool unlocks = head == "with" && line.tokens.size() > 4 && line.tokens[line.tokens.size() - 4].is("unlocked");
      if (blocks.contains(head) && !unlocks) {
        const bool is_followed_elsewhere = head == "def" || head == "else" || head == "elif" || head == "except" || head == "finally";
        if (!is_followed_elsewhere) skip(module, line, "the whole block is passed over");
        i = block_end(module.lines, i);
        continue;
      }
      ++i;
      if (unlocks) continue;  // its body runs as it stands
      try {
        if (head == "return") return evaluate(module, PythonTokens(line.tokens).subspan(1), names, line, depth);
        execute(module, line, names, depth);
      } catch (const NotFollowed& reason) {
        skip(module, line, reason.what());
      }
    }
    return std::nullopt;
  }

  void execute(Module& module, const PythonLine& line, Node& names, int depth) {
    const PythonTokens tokens = line.tokens;
    if (tokens[0].is("import") || tokens[0].is("from")) return import(module, tokens);
    const bool is_remark = tokens[0].is("pass") || (tokens.size() == 1 && tokens[0].kind == PythonToken::Kind::kText);
    if (is_remark) return;
    std::vector<std::size_t> equals;
    for (std::size_t i = 0, open = 0; i < tokens.size(); ++i) {
      if (tokens[i].is("(") || tokens[i].is("{")) ++open;
      if (tokens[i].is(")") || tokens[i].is("}")) --open;
      if (tokens[i].is("=") && open == 0) equals.push_back(i);
    }
    if (equals.empty()) throw NotFollowed("not an assignment of a literal");
    const Value value = evaluate(module, tokens.subspan(equals.back() + 1), names, line, depth);
    for (std::size_t i = 0, start = 0; i < equals.size(); start = equals[i++] + 1)
      assign(tokens.subspan(start, equals[i] - start), value, names);
  }

  static void assign(PythonTokens target, const Value& value, Node& names) {
    const std::vector<std::string> path = dotted_path(target);
    if (path.empty()) throw NotFollowed("the left side is not a name with dots");
    Node* node = &names;
    for (std::size_t i = 0; i + 1 < path.size(); ++i) {
      Value* inner = node->find(path[i]);
      if (inner == nullptr || !inner->group) throw NotFollowed(fmt::format("'{}' is no group of settings that was made before", path[i]));
      node = inner->group.get();
    }
    node->set(path.back(), value);
  }

  Value evaluate(Module& module, PythonTokens tokens, Node& names, const PythonLine& line, int depth) {
    if (const auto text = literal_text(tokens)) return {*text, nullptr, place(module, line)};
    const bool is_call = tokens.size() >= 3 && tokens[tokens.size() - 2].is("(") && tokens.back().is(")");
    const std::vector<std::string> path = dotted_path(is_call ? tokens.first(tokens.size() - 2) : tokens);
    if (path.empty()) throw NotFollowed("not a literal");
    if (!is_call) return lookup(module, path, names, place(module, line));
    if (path.back() == "ConfigDict") return {"", std::make_shared<Node>(), place(module, line)};
    if (path.size() == 1 && module.functions.contains(path[0])) return call(module, path[0], depth + 1);
    return call_imported(module, path, depth);
  }

  static Value lookup(Module& module, const std::vector<std::string>& path, Node& names, const std::string& where) {
    Value* value = names.find(path[0]);
    if (value == nullptr) value = module.globals.find(path[0]);
    for (std::size_t i = 1; i < path.size() && value != nullptr; ++i) value = value->group ? value->group->find(path[i]) : nullptr;
    if (value == nullptr) throw NotFollowed("not a literal");
    return {value->literal, value->group, where};
  }

  // `f()` of `from m import f`, or `m.f()` of `import m`.
  Value call_imported(Module& module, const std::vector<std::string>& path, int depth) {
    std::string called_module, name = path.back();
    if (const auto import = module.imports.find(path[0]); path.size() == 1 && import != module.imports.end()) {
      called_module = import->second.module;
      name = import->second.name;
    } else if (path.size() > 1) {
      std::string prefix = path[0];
      for (std::size_t i = 1; i + 1 < path.size(); ++i) prefix += "." + path[i];
      if (const auto found = module.imports.find(prefix); found != module.imports.end()) {
        called_module = found->second.name.empty() ? found->second.module : found->second.module + "." + found->second.name;
      }
    }
    if (called_module.empty()) throw NotFollowed("calls what is not known here");
    const std::string file = find_module(module, called_module);
    if (file.empty()) {
      result_.missing_base = true;
      result_.skipped.push_back(
          fmt::format("{}: there is no file of module {} beside it; what {}() sets is taken to be the official defaults", module.path,
                      called_module, name));
      return {"", std::make_shared<Node>(), module.path};
    }
    Module& other = load(file);
    if (!other.functions.contains(name)) throw NotFollowed(fmt::format("{} has no function {}", file, name));
    return call(other, name, depth + 1);
  }

  // config/default_config.py of "config.default_config": in the file's folder or the two above, or by its last part beside the file.
  static std::string find_module(const Module& from, std::string module) {
    module.erase(0, module.find_first_not_of('.'));
    std::string relative = module;
    std::replace(relative.begin(), relative.end(), '.', '/');
    std::filesystem::path folder = std::filesystem::path(from.path).parent_path();
    const std::filesystem::path beside = folder / (module.substr(module.rfind('.') + 1) + ".py");
    for (int i = 0; i < 3; ++i, folder = folder / "..") {
      const auto candidate = folder / (relative + ".py");
      if (std::filesystem::is_regular_file(candidate)) return candidate.lexically_normal().string();
    }
    return std::filesystem::is_regular_file(beside) ? beside.string() : "";
  }

  // import a.b [as c], ... ; from a.b import c [as d], ...
  static void import(Module& module, PythonTokens tokens) {
    const bool from = tokens[0].is("from");
    std::string base;
    std::size_t i = 1;
    if (from) {
      for (; i < tokens.size() && !tokens[i].is("import"); ++i) base += tokens[i].text;
      ++i;
    }
    while (i < tokens.size()) {
      std::string name, as;
      for (; i < tokens.size() && !tokens[i].is(",") && !tokens[i].is("as"); ++i) {
        if (!tokens[i].is("(") && !tokens[i].is(")")) name += tokens[i].text;
      }
      if (i + 1 < tokens.size() && tokens[i].is("as")) as = tokens[i + 1].text;
      while (i < tokens.size() && !tokens[i].is(",")) ++i;
      ++i;
      module.imports[as.empty() ? name : as] = from ? Import{base, name} : Import{name, ""};
    }
  }

  PythonConfig& result_;
  int num_calls_ = 0;
  std::map<std::string, std::unique_ptr<Module>> modules_;
};

void flatten(const Node& node, const std::string& prefix, std::vector<PythonSetting>& settings, int depth = 0) {
  if (depth > kMaxGroupDepth) return;  // a group inside itself
  for (const auto& [name, value] : node.items) {
    if (value.group)
      flatten(*value.group, prefix + name + ".", settings, depth + 1);
    else
      settings.push_back({prefix + name, value.literal, value.place});
  }
}

// What the file makes: get_config(), else its last function, else its variable `config`.
Value configuration_of(Reader& reader, Module& module) {
  if (module.functions.contains("get_config")) return reader.call(module, "get_config", 0);
  if (!module.function_order.empty()) return reader.call(module, module.function_order.back(), 0);
  if (const Value* config = module.globals.find("config")) return *config;
  throw NotFollowed("there is neither a function get_config() nor a variable config");
}

}  // namespace

PythonConfig read_python_config(const std::string& file) {
  PythonConfig result;
  Reader reader(result);
  try {
    const Value config = configuration_of(reader, reader.load(file));
    if (!config.group) throw NotFollowed("what it makes is no group of settings");
    flatten(*config.group, "", result.settings);
  } catch (const NotFollowed& reason) {
    throw data_error("[config] {}: {}; a configuration file of the official release is expected", file, reason.what());
  }
  return result;
}

}  // namespace nabla
