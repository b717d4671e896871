// expect: compile_error
class Problem {
    static int twice(int x) {
        return 2 * x;
    }
}
