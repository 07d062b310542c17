#include "tools/command/exit_code.h"

#include "tests/catch.h"

namespace strata::inline v0_1::tools {
namespace {

TEST_CASE("every_code_has_the_documented_exit_code") {
  CHECK(exit_code_of(Code::invalid_argument) == ExitCode::usage);
  CHECK(exit_code_of(Code::not_found) == ExitCode::not_found);
  CHECK(exit_code_of(Code::permission_denied) == ExitCode::refused);
  CHECK(exit_code_of(Code::failed_precondition) == ExitCode::refused);
  for (const Code code :
       {Code::already_exists, Code::exhausted, Code::not_ready, Code::timed_out, Code::corrupt,
        Code::unsupported, Code::internal, Code::no_driver, Code::no_device, Code::wrong_device}) {
    CHECK(exit_code_of(code) == ExitCode::failed);
  }
}

}  // namespace
}  // namespace strata::inline v0_1::tools
