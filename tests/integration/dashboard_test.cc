// The dashboard in headless Chromium against the real service (dashboard_browser.py): a token, a job submitted and
// watched to its end, its report and artifacts, another one cancelled; nothing in the console, nothing without a name,
// nothing wider than the window. Pictures are left in the build's folder test-output/dashboard.
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>

#include "tests/support/processes.h"

namespace quench::testing {
namespace {

// Of the browser: Debian's name, Ubuntu's and Fedora's, upstream's.
std::filesystem::path chromium() {
  for (const char* name : {"/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"})
    if (std::filesystem::exists(name)) return name;
  return {};
}

TEST(Dashboard, ServesAUserFromTheTokenToTheReport) {
  const std::filesystem::path browser = chromium();
  if (browser.empty()) GTEST_SKIP() << "Chromium is not installed: apt-get install chromium";
  const ScratchDirectory scratch;
  const std::filesystem::path pictures = std::filesystem::path(QUENCH_BIN_DIR).parent_path() / "test-output" / "dashboard";
  const Finished finished =
      run({"/usr/bin/python3", "-B", std::string(QUENCH_SOURCE_DIR) + "/tests/integration/dashboard_browser.py", "--quench",
           quench_program(), "--chromium", browser, "--fixtures", fixture("tiny_coder").parent_path(), "--scratch",
           scratch / "run", "--screenshots", pictures},
          {}, std::chrono::seconds(800));
  EXPECT_EQ(finished.exit_code, 0) << finished.err << "\npictures: " << pictures;
}

}  // namespace
}  // namespace quench::testing
