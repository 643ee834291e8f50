#pragma once

#include "protocol/log_merge.h"

#include <memory>
#include <string>

namespace CLI {
class App;
}

namespace nabla {

// --version, --update, --slot, --reward, --actor and --prompt of a subcommand, as typed.
struct FilterOptions {
  std::string versions, updates, slots, rewards, actor, prompt;
};
std::shared_ptr<FilterOptions> add_filter_options(CLI::App& command);

// usage_error naming the option for what is neither N nor A:B, A: or :B.
RecordFilter filter_of(const FilterOptions& options);

}  // namespace nabla
