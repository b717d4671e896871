// expect: timed_out
// A finally block is compiled twice, so 26 of them 67 million times.
class Problem {
    static int f() {
        int a = 0;
        try { a++; } finally { try { a++; } finally { try { a++; } finally { try { a++; } finally { try { a++; } finally { try { a++; } finally { try { a++; } finally { try { a++; } finally { try { a++; } finally { try { a++; } finally { try { a++; } finally { try { a++; } finally { try { a++; } finally { try { a++; } finally { try { a++; } finally { try { a++; } finally { try { a++; } finally { try { a++; } finally { try { a++; } finally { try { a++; } finally { try { a++; } finally { try { a++; } finally { try { a++; } finally { try { a++; } finally { try { a++; } finally { try { a++; } finally { a++; } } } } } } } } } } } } } } } } } } } } } } } } } }
        return a;
    }

    public static void main(String[] args) {}
}
