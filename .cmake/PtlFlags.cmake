# Every compile flag lives on this target.
add_library(ptl_flags INTERFACE)
target_compile_features(ptl_flags INTERFACE c_std_17)
target_compile_definitions(ptl_flags INTERFACE _GNU_SOURCE PTL_VERSION="${PROJECT_VERSION}")
target_include_directories(ptl_flags INTERFACE ${PROJECT_SOURCE_DIR}/include)
target_compile_options(ptl_flags INTERFACE -Wall -Wextra -Wshadow -Wformat=2 -Wstrict-prototypes
    -Wmissing-prototypes -Wwrite-strings -Wpointer-arith -Wundef -Wvla -fno-common -fstack-protector-strong
    $<$<BOOL:${PTL_WERROR}>:-Werror>)
if(PTL_SANITIZE)
    target_compile_options(ptl_flags INTERFACE -fsanitize=${PTL_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=undefined)
    target_link_options(ptl_flags INTERFACE -fsanitize=${PTL_SANITIZE})
endif()
if(PTL_FUZZ)
    target_compile_options(ptl_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# ptl_add_library(name SOURCES... [LINK libs...]): an internal static library with the project's flags.
function(ptl_add_library name)
    cmake_parse_arguments(A "" "" "LINK" ${ARGN})
    add_library(${name} STATIC ${A_UNPARSED_ARGUMENTS})
    target_link_libraries(${name} PUBLIC ptl_flags ${A_LINK})
    target_include_directories(${name} PUBLIC ${CMAKE_CURRENT_SOURCE_DIR})
endfunction()
