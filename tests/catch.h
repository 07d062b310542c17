// Catch2, of version 2 or 3: tests include this and not Catch2's own headers, whose names differ.
#pragma once

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#else
#include <catch2/catch.hpp>
#endif
