# Finds what Strata is built from. What is missing is named all at once, with its Debian package.
#
# Sets STRATA_INCLUDE_DIRS, STRATA_COMMAND_INCLUDE_DIRS, STRATA_DEFINITIONS and STRATA_LINK_FLAGS:
# the last as flags, since programs that link the static library on another day need the same.
find_package(PkgConfig)
if(NOT PKG_CONFIG_FOUND)
  message(FATAL_ERROR "Strata finds its libraries by pkg-config, which is missing; on Debian: "
    "apt-get install pkg-config")
endif()

set(missing)
set(missing_packages)
set(STRATA_INCLUDE_DIRS)
set(STRATA_DEFINITIONS)
set(STRATA_LINK_FLAGS)

function(note_missing what package)
  set(missing ${missing} ${what} PARENT_SCOPE)
  set(missing_packages ${missing_packages} ${package} PARENT_SCOPE)
endfunction()

# Libraries that are linked: the name for pkg-config, the Debian package.
foreach(library
    "libpmem2=libpmem2-dev"
    "libpmemobj=libpmemobj-dev"
    "libpmempool=libpmempool-dev"
    "hwloc=libhwloc-dev"
    "fmt=libfmt-dev"
    "libxxhash=libxxhash-dev")
  string(REPLACE "=" ";" library ${library})
  list(GET library 0 name)
  list(GET library 1 package)
  pkg_check_modules(STRATA_${name} QUIET ${name})
  if(STRATA_${name}_FOUND)
    list(APPEND STRATA_INCLUDE_DIRS ${STRATA_${name}_INCLUDE_DIRS})
    foreach(flag ${STRATA_${name}_CFLAGS_OTHER})
      if(flag MATCHES "^-D(.+)")
        list(APPEND STRATA_DEFINITIONS ${CMAKE_MATCH_1})
      endif()
    endforeach()
    foreach(directory ${STRATA_${name}_LIBRARY_DIRS})
      if(NOT directory IN_LIST CMAKE_CXX_IMPLICIT_LINK_DIRECTORIES)
        list(APPEND STRATA_LINK_FLAGS -L${directory})
      endif()
    endforeach()
    foreach(word ${STRATA_${name}_LIBRARIES})
      list(APPEND STRATA_LINK_FLAGS -l${word})
    endforeach()
  else()
    note_missing(${name} ${package})
  endif()
endforeach()

# Libraries that are headers alone: a header, what it belongs to, the Debian package, and who
# includes it. strata/heap/containers.h of the installed headers includes Boost too.
foreach(library
    "boost/unordered_map.hpp=Boost=libboost-dev=STRATA_INCLUDE_DIRS"
    "CLI/CLI.hpp=CLI11=libcli11-dev=STRATA_COMMAND_INCLUDE_DIRS"
    "nlohmann/json.hpp=nlohmann-json=nlohmann-json3-dev=STRATA_COMMAND_INCLUDE_DIRS")
  string(REPLACE "=" ";" library ${library})
  list(GET library 0 header)
  list(GET library 1 name)
  list(GET library 2 package)
  list(GET library 3 directories)
  if(directories STREQUAL STRATA_COMMAND_INCLUDE_DIRS AND NOT STRATA_BUILD_COMMAND)
    continue()
  endif()
  find_path(STRATA_${name}_INCLUDE_DIR ${header})
  mark_as_advanced(STRATA_${name}_INCLUDE_DIR)
  if(STRATA_${name}_INCLUDE_DIR)
    list(APPEND ${directories} ${STRATA_${name}_INCLUDE_DIR})
  else()
    note_missing(${name} ${package})
  endif()
endforeach()

if(missing)
  string(REPLACE ";" ", " missing "${missing}")
  string(REPLACE ";" " " missing_packages "${missing_packages}")
  message(FATAL_ERROR "Strata needs what is missing here: ${missing}; on Debian: apt-get install "
    "${missing_packages}. What is installed elsewhere is found by PKG_CONFIG_PATH and "
    "CMAKE_PREFIX_PATH.")
endif()

find_package(Threads REQUIRED)
foreach(library ${CMAKE_DL_LIBS})
  list(APPEND STRATA_LINK_FLAGS -l${library})
endforeach()
# Also where threads are part of the C library, which CMAKE_THREAD_LIBS_INIT leaves out: flags for
# another system are made of these.
list(APPEND STRATA_LINK_FLAGS -pthread)
