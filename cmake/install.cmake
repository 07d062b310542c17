# What cmake --install puts where. The tarball of Bazel is made from the same templates.
install(DIRECTORY include/strata DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
  FILES_MATCHING PATTERN "*.h")
install(TARGETS ${libraries}
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
if(STRATA_BUILD_COMMAND)
  install(TARGETS strata_command RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  # Written by the command itself, which a machine that it is not for cannot run.
  if(NOT CMAKE_CROSSCOMPILING)
    set(texts ${PROJECT_BINARY_DIR}/share)
    add_custom_command(TARGET strata_command POST_BUILD
      COMMAND ${PROJECT_SOURCE_DIR}/tools/write_texts.sh $<TARGET_FILE:strata_command> ${texts}
      VERBATIM)
    install(DIRECTORY ${texts}/ DESTINATION ${CMAKE_INSTALL_DATADIR})
  endif()
endif()
install(FILES README.md LICENSE LICENSE-THIRD-PARTY CHANGELOG.md ARCHITECTURE.md CONTRIBUTING.md
  RUNTIME-PACKAGES
  DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY docs DESTINATION ${CMAKE_INSTALL_DOCDIR} FILES_MATCHING PATTERN "*.md")
file(GLOB examples CONFIGURE_DEPENDS examples/[0-9]* examples/CMakeLists.txt)
install(FILES ${examples} DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples)
install(FILES examples/languages/share.c examples/languages/share.f90 examples/languages/share.py
  examples/languages/strata.f90
  DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples/languages)

# The templates' words. Every path is relative to the file in which it stands.
set(cmake_dir ${CMAKE_INSTALL_LIBDIR}/cmake/strata)
set(pkgconfig_dir ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
set(VERSION ${PROJECT_VERSION})
set(SERIES ${series})
set(SONAME libstrata.so.${series})
set(LINK_FLAGS "${STRATA_LINK_FLAGS}")
file(RELATIVE_PATH INCLUDEDIR ${CMAKE_INSTALL_PREFIX} ${CMAKE_INSTALL_FULL_INCLUDEDIR})
file(RELATIVE_PATH LIBDIR ${CMAKE_INSTALL_PREFIX} ${CMAKE_INSTALL_FULL_LIBDIR})
file(RELATIVE_PATH BINDIR ${CMAKE_INSTALL_PREFIX} ${CMAKE_INSTALL_FULL_BINDIR})
file(RELATIVE_PATH PREFIX_FROM_CMAKE
  ${CMAKE_INSTALL_FULL_LIBDIR}/cmake/strata ${CMAKE_INSTALL_PREFIX})
file(RELATIVE_PATH from_pkgconfig
  ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
string(REGEX REPLACE "/$" "" PREFIX_FROM_CMAKE ${PREFIX_FROM_CMAKE})
string(REGEX REPLACE "/$" "" from_pkgconfig ${from_pkgconfig})
if(CMAKE_INSTALL_PREFIX STREQUAL "/usr")
  # So that pkg-config knows the directories that the compiler searches anyway.
  set(PREFIX /usr)
else()
  set(PREFIX "\${pcfiledir}/${from_pkgconfig}")
endif()

foreach(file strataConfig.cmake strataConfigVersion.cmake)
  configure_file(cmake/${file}.in ${PROJECT_BINARY_DIR}/${file} @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/${file} DESTINATION ${cmake_dir})
endforeach()

function(install_pkg_config NAME HOW CFLAGS LIBS LIBS_PRIVATE)
  configure_file(cmake/strata.pc.in ${PROJECT_BINARY_DIR}/${NAME}.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/${NAME}.pc DESTINATION ${pkgconfig_dir})
endfunction()

string(REPLACE ";" " " private "${STRATA_LINK_FLAGS}")
set(link "-L\${libdir} -lstrata")
if(NOT build_shared)
  set(link "${link} ${private}")
endif()
set(cflags "-I\${includedir}")
install_pkg_config(strata "" "-std=c++20 ${cflags}" "${link}" "${private}")
if(build_static)
  install_pkg_config(strata-static " (static)" "-std=c++20 ${cflags}"
    "\${libdir}/libstrata.a ${private}" "")
endif()
if(EXISTS ${PROJECT_SOURCE_DIR}/include/strata/c.h)
  # Without the language flag, which a compiler for C refuses.
  install_pkg_config(strata-c " (from C)" "${cflags}" "${link}" "${private} -lstdc++")
endif()
