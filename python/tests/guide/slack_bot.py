import time

while True:
    for name in controller.waiting_gates():
        send_slack_message(f"Gate '{name}' needs approval. Reply /approve or /reject")
    time.sleep(10)
