#pragma once

#include "learner/learner.h"

#include <string>
#include <vector>

namespace nabla {

// report.html: one page without outside assets: summary, charts over updates (SVG drawn here), gallery, ledger, configuration.
std::string report_html(const RunSummary& summary, const RunFacts& facts, const std::vector<UpdateReport>& updates, const std::string& gallery_png,
                        const std::string& config_text);

}  // namespace nabla
