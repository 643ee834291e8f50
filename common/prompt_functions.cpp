#include "common/prompt_functions.h"

#include "common/error.h"
#include "common/files.h"
#include "common/json_file.h"
#include "common/prompt_source.h"

#include <algorithm>
#include <map>
#include <set>

namespace nabla {

namespace {

constexpr std::size_t kMaxListBytes = std::size_t{64} << 20;
constexpr std::size_t kHeldOutOfStyle = 10, kHeldOutOfCategory = 2;

const std::vector<std::string>& simple_animals() {
  static const std::vector<std::string> animals{
      "ant",      "bat",     "bear",     "bee",   "beetle", "bird",   "butterfly", "camel",  "cat",     "chicken", "cow",      "deer",
      "dog",      "dolphin", "duck",     "fish",  "fly",    "fox",    "frog",      "goat",   "goose",   "gorilla", "hedgehog", "horse",
      "kangaroo", "lion",    "lizard",   "llama", "monkey", "mouse",  "pig",       "rabbit", "raccoon", "rat",     "shark",    "sheep",
      "snake",    "spider",  "squirrel", "tiger", "turkey", "turtle", "whale",     "wolf",   "zebra"};
  return animals;
}

// The HPDv2 styles a prompt function draws from.
const std::map<std::string, std::vector<std::string>>& hpd_styles() {
  static const std::map<std::string, std::vector<std::string>> styles{{"hpd", {"anime", "concept-art", "paintings", "photo"}},
                                                                      {"hpd_paintings", {"paintings"}},
                                                                      {"hpd_photo", {"photo"}},
                                                                      {"hpd_photo_anime", {"photo", "anime"}},
                                                                      {"hpd_photo_concept", {"photo", "concept-art"}},
                                                                      {"hpd_photo_painting", {"photo", "paintings"}}};
  return styles;
}

// Lines [first, last) of the list of ImageNet's class names.
struct LineRange {
  std::size_t first, last;
};
const std::map<std::string, LineRange>& imagenet_ranges() {
  static const std::map<std::string, LineRange> ranges{
      {"imagenet_all", {0, 1000}}, {"imagenet_animals", {0, 398}}, {"imagenet_dogs", {151, 269}}};
  return ranges;
}

// The strings of one style's JSON list: the first ten to evaluation, the others to training.
void add_style(const std::string& path, PromptLists& lists) {
  const auto json = read_json(path, kMaxListBytes);
  if (!json.is_array()) throw data_error("[prompts] {}: a JSON list of texts is expected", path);
  for (std::size_t i = 0; i < json.size(); ++i) {
    const std::string place = fmt::format("{}: prompt {}", path, i + 1);
    if (!json[i].is_string()) throw data_error("[prompts] {} is not a text", place);
    (i < kHeldOutOfStyle ? lists.evaluation : lists.training).push_back(checked_prompt(json[i].get<std::string>(), place));
  }
}

PromptLists load_hpd(const RunConfig& config, std::vector<std::string> styles) {
  if (config.compat.prompts == "paintings_only") styles = {"paintings"};
  PromptLists lists;
  lists.evaluation_origin = config.experiment.prompt_file;
  for (const std::string& style : styles) add_style(config.experiment.prompt_file + "/benchmark_" + style + ".json", lists);
  return lists;
}

PromptLists load_imagenet(const std::string& path, LineRange range) {
  const std::vector<std::string> names = prompt_lines(path);
  if (names.size() < range.last) {
    throw data_error("[prompts] {} has {} lines; the {} class names of ImageNet, one a line in their usual order, are expected", path,
                     names.size(), imagenet_ranges().at("imagenet_all").last);
  }
  PromptLists lists;
  lists.training.assign(names.begin() + static_cast<std::ptrdiff_t>(range.first), names.begin() + static_cast<std::ptrdiff_t>(range.last));
  lists.evaluation = lists.training;
  lists.evaluation_origin = path;
  return lists;
}

// Rows of a CSV text (RFC 4180); each row's fields.
std::vector<std::vector<std::string>> csv_rows(const std::string& text) {
  std::vector<std::vector<std::string>> rows;
  std::vector<std::string> row;
  std::string field;
  bool quoted = false;
  const auto end_row = [&] {
    row.push_back(std::move(field));
    field.clear();
    if (row.size() > 1 || !row[0].empty()) rows.push_back(std::move(row));
    row.clear();
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"' && quoted && i + 1 < text.size() && text[i + 1] == '"') {
      field += text[++i];  // a doubled quote stands for one
    } else if (c == '"') {
      quoted = !quoted;
    } else if (c == ',' && !quoted) {
      row.push_back(std::move(field));
      field.clear();
    } else if (c == '\n' && !quoted) {
      end_row();
    } else if (c != '\r' || quoted) {
      field += c;
    }
  }
  if (!field.empty() || !row.empty()) end_row();
  return rows;
}

// DrawBench's columns Prompts and Category, without the two categories of unreadable words; the release holds out the first 2 of each other.
PromptLists load_drawbench(const std::string& path) {
  const auto rows = csv_rows(read_file(path, kMaxListBytes));
  const auto column = [&](const std::string& name) {
    const auto found = rows.empty() ? std::vector<std::string>::const_iterator{} : std::find(rows[0].begin(), rows[0].end(), name);
    if (rows.empty() || found == rows[0].end())
      throw data_error("[prompts] {}: the first line must name the columns Prompts and Category", path);
    return static_cast<std::size_t>(found - rows[0].begin());
  };
  const std::size_t prompt = column("Prompts"), category = column("Category");
  const std::set<std::string> skipped{"Misspellings", "Rare Words"};
  std::map<std::string, std::size_t> seen;
  PromptLists lists;
  lists.evaluation_origin = path;
  for (std::size_t i = 1; i < rows.size(); ++i) {
    const std::string place = fmt::format("{}: row {}", path, i + 1);
    if (rows[i].size() != rows[0].size())
      throw data_error("[prompts] {} has {} fields, the first row {}", place, rows[i].size(), rows[0].size());
    if (skipped.contains(rows[i][category])) continue;
    const bool held_out = seen[rows[i][category]]++ < kHeldOutOfCategory;
    (held_out ? lists.evaluation : lists.training).push_back(checked_prompt(rows[i][prompt], place));
  }
  return lists;
}

PromptLists same_for_both(std::vector<std::string> prompts, const std::string& origin) { return {prompts, prompts, origin}; }

}  // namespace

const std::vector<std::string>& prompt_function_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all{"pocket", "file", "simple_animals", "drawbench"};
    for (const auto& [name, styles] : hpd_styles()) all.push_back(name);
    for (const auto& [name, range] : imagenet_ranges()) all.push_back(name);
    return all;
  }();
  return names;
}

std::string needed_prompt_file(const std::string& prompt_fn) {
  if (prompt_fn == "file") return "a file with one prompt a line";
  if (prompt_fn == "drawbench") return "DrawBench's CSV file with the columns Prompts and Category (the release has it in lib/assets)";
  if (imagenet_ranges().contains(prompt_fn))
    return "the file of ImageNet's 1000 class names, one a line (the release has it in lib/assets)";
  const auto styles = hpd_styles().find(prompt_fn);
  if (styles == hpd_styles().end()) return "";
  std::string files;
  for (const std::string& style : styles->second) files += (files.empty() ? "benchmark_" : ", benchmark_") + style + ".json";
  return "the folder of HPDv2's benchmark prompts with " + files + " (the release has it in lib/assets/HPDv2)";
}

PromptLists load_prompt_lists(const RunConfig& config) {
  const std::string &name = config.experiment.prompt_fn, &path = config.experiment.prompt_file;
  if (name == "pocket") {
    const std::string folder = config.pretrained.model + "/prompts/";
    // A list that eval.prompt_file replaces need not be there.
    const bool replaced = !config.eval.prompt_file.empty();
    return {prompt_lines(folder + "train.txt"), replaced ? std::vector<std::string>{} : prompt_lines(folder + "eval.txt"),
            folder + "eval.txt"};
  }
  if (name == "simple_animals" && path.empty()) return same_for_both(simple_animals(), "simple_animals");
  if (name == "file" || name == "simple_animals") return same_for_both(prompt_lines(path), path);
  if (name == "drawbench") return load_drawbench(path);
  if (const auto styles = hpd_styles().find(name); styles != hpd_styles().end()) return load_hpd(config, styles->second);
  return load_imagenet(path, imagenet_ranges().at(name));
}

}  // namespace nabla
