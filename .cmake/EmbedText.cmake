# cmake -DIN=file -DOUT=header -DNAME=symbol -P EmbedText.cmake: a text file as a C array of bytes with a NUL behind them.
file(READ "${IN}" hex HEX)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
file(WRITE "${OUT}" "/* made from ${IN} */\nstatic const char ${NAME}[] = {\n${bytes}0};\n")
