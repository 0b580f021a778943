# Everything goes into one component, so that nothing else can slip into the wheel:
#   gradsmith/_core*.so   gradsmith/lib/libgradsmith*.so   gradsmith/include   gradsmith/share/cmake
include(CMakePackageConfigHelpers)
set_target_properties(gradsmith PROPERTIES INSTALL_RPATH "$ORIGIN")
install(TARGETS gradsmith EXPORT gradsmithTargets COMPONENT gradsmith
        LIBRARY DESTINATION lib RUNTIME DESTINATION lib ARCHIVE DESTINATION lib)
install(DIRECTORY csrc/include/gradsmith DESTINATION include COMPONENT gradsmith)
if(TARGET _core)
  install(TARGETS _core LIBRARY DESTINATION . COMPONENT gradsmith)
endif()
set(GS_CMAKE_DIR share/cmake/gradsmith)
install(EXPORT gradsmithTargets NAMESPACE gradsmith:: DESTINATION ${GS_CMAKE_DIR} COMPONENT gradsmith)
configure_package_config_file(cmake/gradsmithConfig.cmake.in
                              ${CMAKE_CURRENT_BINARY_DIR}/gradsmithConfig.cmake
                              INSTALL_DESTINATION ${GS_CMAKE_DIR})
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/gradsmithConfigVersion.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/gradsmithConfig.cmake
              ${CMAKE_CURRENT_BINARY_DIR}/gradsmithConfigVersion.cmake
        DESTINATION ${GS_CMAKE_DIR} COMPONENT gradsmith)
