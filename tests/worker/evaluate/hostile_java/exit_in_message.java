// expect: failed
// The error that ends the tests is the program's own code again.
class Problem {
    static long twice(long x) {
        throw new RuntimeException() {
            @Override
            public String getMessage() {
                System.exit(0);
                return "";
            }
        };
    }

    public static void main(String[] args) {
        assert (twice(21L) == 42L);
    }
}
