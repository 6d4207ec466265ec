option(BUILD_TESTING "" ON)
enable_testing()
find_package(Python3 REQUIRED COMPONENTS Interpreter)

function(slicerMacroBuildScriptedModule)
  cmake_parse_arguments(MODULE "WITH_GENERIC_TESTS" "NAME" "SCRIPTS;RESOURCES" ${ARGN})
  if(MODULE_UNPARSED_ARGUMENTS OR NOT MODULE_NAME)
    message(FATAL_ERROR "slicerMacroBuildScriptedModule: ${MODULE_UNPARSED_ARGUMENTS}")
  endif()
  set(built)
  foreach(file IN LISTS MODULE_SCRIPTS MODULE_RESOURCES)
    if(NOT EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/${file})
      message(FATAL_ERROR "${MODULE_NAME} lists ${file}, which is not there")
    endif()
    set(copy ${CMAKE_BINARY_DIR}/${Slicer_QTSCRIPTEDMODULES_LIB_DIR}/${file})
    add_custom_command(
      OUTPUT ${copy}
      COMMAND ${CMAKE_COMMAND} -E copy ${CMAKE_CURRENT_SOURCE_DIR}/${file} ${copy}
      DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${file}
      )
    list(APPEND built ${copy})
    get_filename_component(folder ${file} DIRECTORY)
    install(FILES ${file} DESTINATION ${Slicer_QTSCRIPTEDMODULES_LIB_DIR}/${folder})
  endforeach()
  add_custom_target(${MODULE_NAME} ALL DEPENDS ${built})
  if(MODULE_WITH_GENERIC_TESTS)
    add_test(
      NAME py_nomainwindow_qSlicer${MODULE_NAME}ModuleGenericTest
      COMMAND ${Python3_EXECUTABLE} -m compileall -q ${CMAKE_BINARY_DIR}/${Slicer_QTSCRIPTEDMODULES_LIB_DIR}/${MODULE_NAME}Lib
      )
  endif()
endfunction()

# Slicer loads the script and runs the test cases that it finds there; here it is looked for them.
function(slicer_add_python_unittest)
  cmake_parse_arguments(TEST "" "SCRIPT" "SLICER_ARGS" ${ARGN})
  get_filename_component(name ${TEST_SCRIPT} NAME_WE)
  add_test(
    NAME py_${name}
    COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/run_own_tests.py
            ${CMAKE_BINARY_DIR}/${Slicer_QTSCRIPTEDMODULES_LIB_DIR}/${TEST_SCRIPT}
    )
endfunction()
