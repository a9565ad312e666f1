# cmake -DMODE=statements|migrations -DLIST=FILE -DROOT=DIR -DOUT=DIR -P PtlEmbedSql.cmake
# Turns .sql files into C at build time. LIST names one file per line, relative to ROOT, in byte order.
#   statements: OUT/store_sql.h (enum ptl_sql) and OUT/store_sql.c (ptl_sql_builtin)
#   migrations: OUT/store_migrations.c (ptl_migrations_builtin)
# Bytes are written as numbers, so nothing in a file can end a C string.
cmake_minimum_required(VERSION 3.25)
file(STRINGS "${LIST}" files ENCODING UTF-8)

function(as_bytes path out_var)
    file(READ "${path}" hex HEX)
    string(REGEX REPLACE "(................................)" "\\1\n" hex "${hex}")
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "'\\\\x\\1'," hex "${hex}")
    set(${out_var} "${hex}" PARENT_SCOPE)
endfunction()

set(arrays "")
set(rows "")
set(names "")
set(versions "")
set(i 0)
foreach(file IN LISTS files)
    get_filename_component(name "${file}" NAME_WE)
    as_bytes("${ROOT}/${file}" bytes)
    string(APPEND arrays "static const char file_${i}[] = {\n${bytes}0};\n")
    if(MODE STREQUAL "statements")
        if(NOT name MATCHES "^[a-z][a-z0-9_]*$")
            message(FATAL_ERROR "${file}: the name of a statement is [a-z][a-z0-9_]*, for it becomes PTL_SQL_${name}")
        endif()
        list(APPEND names "${name}")
        string(APPEND rows "    {\"${name}\", \"${FOLDER}/${file}\", file_${i}, sizeof(file_${i}) - 1},\n")
    else()
        get_filename_component(folder "${file}" DIRECTORY)
        file(SHA256 "${ROOT}/${file}" sha)
        string(REGEX REPLACE "\\.sql$" "" id "${file}")
        if(folder STREQUAL "")
            if(NOT name MATCHES "^([0-9][0-9][0-9][0-9])_[a-z0-9_]+$")
                message(FATAL_ERROR "${FOLDER}/${file}: a migration is called NNNN_name.sql; files that are loaded again when they change go into a sub-folder")
            endif()
            math(EXPR version "1${CMAKE_MATCH_1} - 10000")
            if(version EQUAL 0 OR version IN_LIST versions)
                message(FATAL_ERROR "${FOLDER}/${file}: number ${CMAKE_MATCH_1} is taken (or zero); take the next free one")
            endif()
            list(APPEND versions ${version})
        else()
            set(version 0)
        endif()
        string(APPEND rows "    {${version}, \"${id}\", \"${FOLDER}/${file}\", \"${sha}\", file_${i}, sizeof(file_${i}) - 1},\n")
    endif()
    math(EXPR i "${i} + 1")
endforeach()

if(MODE STREQUAL "statements")
    set(enum "")
    foreach(name IN LISTS names)
        string(APPEND enum "    PTL_SQL_${name},\n")
    endforeach()
    file(CONFIGURE OUTPUT "${OUT}/store_sql.h" @ONLY CONTENT
"/* Generated from ${FOLDER}/NAME.sql: one name per statement. */
#ifndef PORTOLAN_STORE_SQL_H
#define PORTOLAN_STORE_SQL_H
enum ptl_sql {
@enum@    PTL_SQL_COUNT
};
#endif
")
    file(CONFIGURE OUTPUT "${OUT}/store_sql.c" @ONLY CONTENT
"/* Generated from ${FOLDER}/NAME.sql. */
#include \"sql_set.h\"
@arrays@static const struct ptl_sql_text all[] = {
@rows@    {0},
};
const struct ptl_sql_set ptl_sql_builtin = {all, sizeof(all) / sizeof(all[0]) - 1};
")
    # The header keeps its time stamp when the names stay: an edited statement recompiles one file.
    file(TOUCH "${OUT}/store_sql.stamp")
else()
    file(CONFIGURE OUTPUT "${OUT}/store_migrations.c" @ONLY CONTENT
"/* Generated from ${FOLDER}/. */
#include \"migrate.h\"
@arrays@static const struct ptl_migration all[] = {
@rows@    {0},
};
const struct ptl_migration_set ptl_migrations_builtin = {all, sizeof(all) / sizeof(all[0]) - 1};
")
    file(TOUCH "${OUT}/store_migrations.stamp")
endif()
