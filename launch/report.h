#pragma once

#include "learner/learner.h"

#include <string>
#include <string_view>
#include <vector>

namespace nabla {

// report.html: one page without outside assets: summary, charts over updates (SVG drawn here), gallery, ledger, configuration.
// gallery_png: the bytes of the picture, or nothing.
std::string report_html(const RunSummary& summary, const RunFacts& facts, const std::vector<UpdateReport>& updates, const std::string& gallery_png,
                        const std::string& config_text);

// RFC 4648, with padding.
std::string base64(std::string_view bytes);

}  // namespace nabla
